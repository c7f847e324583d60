"""A FastAPI application that Lambda runs: https://mangum.fastapiexpert.com."""

from fastapi import FastAPI, Response
from mangum import Mangum

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63f80f0001"
    "010100b138f6140000000049454e44ae426082"
)

app = FastAPI()


@app.get("/")
def root() -> dict[str, str]:
    """Answer at the root."""
    return {"message": "hello world!"}


@app.get("/users/{user}")
def greet(user: str, greeting: str = "hello") -> dict[str, str]:
    """Answer with what the path and the query say."""
    return {"message": f"{greeting} {user}!"}


@app.post("/length")
def length(text: dict[str, str]) -> dict[str, int]:
    """Answer with what the body says."""
    return {name: len(value) for name, value in text.items()}


@app.get("/pixel.png")
def pixel() -> Response:
    """Answer with bytes."""
    return Response(PIXEL, media_type="image/png")


handler = Mangum(app, lifespan="off")
