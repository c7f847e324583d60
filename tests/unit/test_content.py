"""The content tag is a name for what is built: the same for the same content, another for any other."""

import os
import shutil
import socket
import tracemalloc
from pathlib import Path

import pytest

from components.errors import DeploymentError, ImageUnusable
from components.image.build import ImageBuild


def tag(**changed: object) -> str:
    return ImageBuild(**{"context": "app", **changed}).tag  # type: ignore[arg-type]


def sent(**changed: object) -> list[str]:
    return [file.name for file in ImageBuild(**{"context": "app", **changed}).files]  # type: ignore[arg-type]


def test_a_tag_is_one_that_a_registry_takes(app: Path) -> None:
    assert tag().startswith("content-")
    assert len(tag()) <= 128


@pytest.mark.parametrize(
    "change",
    [
        lambda app: (app / "app.py").write_text("print('bye')\n"),
        lambda app: (app / "app.py").rename(app / "main.py"),
        lambda app: (app / "app.py").chmod(0o755),
        lambda app: (app / "more.py").write_text(""),
        lambda app: (app / "link").symlink_to("app.py"),
        lambda app: (app / "Dockerfile").write_text("FROM scratch\nCOPY . /\n"),
        lambda app: [(app / "Dockerfile").write_text("FROM scratch\n"), (app / ".dockerignore").write_text("app.py\n")],
    ],
    ids=["content", "name", "executable", "new file", "link", "Dockerfile", "ignored file"],
)
def test_what_can_change_the_image_changes_the_tag(app: Path, change) -> None:  # noqa: ANN001  # a lambda
    before = tag()
    change(app)
    assert tag() != before


@pytest.mark.parametrize(
    "changed",
    [{"args": {"A": "1"}}, {"args": {"A": "2"}}, {"target": "release"}, {"platform": "linux/arm64"}],
    ids=str,
)
def test_an_option_that_can_change_the_image_changes_the_tag(app: Path, changed: dict[str, object]) -> None:
    assert tag(**changed) != tag()


def test_the_order_of_build_arguments_changes_nothing(app: Path) -> None:
    assert tag(args={"A": "1", "B": "2"}) == tag(args={"B": "2", "A": "1"})


def test_time_and_group_permissions_change_nothing(app: Path) -> None:
    # Another checkout, another umask: the same commit has to give the same tag on every machine.
    before = tag()
    os.utime(app / "app.py", (0, 0))
    (app / "app.py").chmod(0o600)
    assert tag() == before


def test_a_dockerfiles_own_ignore_file_wins(app: Path) -> None:
    (app / ".dockerignore").write_text("app.py")
    (app / "Dockerfile.dockerignore").write_text("Dockerfile*")
    assert sent() == [".dockerignore", "app.py"]


def test_another_folder_with_the_same_content_has_the_same_tag(app: Path) -> None:
    shutil.copytree(app, app.with_name("copy"))
    assert tag(context="copy") == tag()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"context": "missing"}, "image context 'missing' is not a folder"),
        ({"context": "/app"}, 'context: "/app" is not allowed; it must be a folder, relative to Pulumi.yaml'),
        ({"dockerfile": "Dockerfile"}, "there is no Dockerfile Dockerfile.*dockerfile: app/Dockerfile"),
        ({"context": "a" * 300}, "is not a folder"),
        ({"dockerfile": "a" * 300}, "there is no Dockerfile"),
        ({"context": "app\0"}, "is not a folder"),
        ({"args": {"A=B": "C"}}, "args.A=B: is not a name of a build argument"),
        ({"allow_secrets": ["["]}, r"allowSecrets: '\[' is not a pattern"),
    ],
)
def test_what_cannot_be_built_is_refused_with_the_fix(app: Path, changed: dict[str, object], expected: str) -> None:
    with pytest.raises(DeploymentError, match=expected):
        tag(**changed)


SECRET_NAMES = [
    *("DB_PASSWORD", "passphrase", "MYSQL_PASSWD", "GITHUB_TOKEN", "CLIENT_SECRET", "API_KEY", "CREDENTIALS"),
    *("AWS_PROFILE", "PULUMI_CONFIG_PASSPHRASE_FILE", "pulumi_home"),
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_null_for_a_name_that_looks_like_a_secret_is_refused_with_the_reason(app: Path, name: str) -> None:
    reason = "null would write its value from the environment to the image and the state in clear text. Use a value"
    with pytest.raises(DeploymentError, match=rf"args\.{name}: looks like a secret; {reason}"):
        tag(args={"VERSION": None, name: None})
    assert tag(args={name: "a text"}) != tag()


@pytest.mark.parametrize("name", ["VERSION", "LAMBDA_BASE_IMAGE", "MY_AWS_REGION", "http_proxy"])
def test_null_for_another_name_is_accepted(app: Path, name: str) -> None:
    assert tag(args={name: None})


# ---- the platform of the Dockerfile's stages


@pytest.mark.parametrize(
    ("dockerfile", "platform"),
    [
        ("FROM --platform=linux/amd64 base", "linux/amd64"),
        ("FROM --platform=amd64 base", "linux/amd64"),
        ("FROM --platform=linux/aarch64 base", "linux/arm64"),
        ("FROM --platform=linux/arm64/v8 base", "linux/arm64"),
        ("FROM --platform=$TARGETPLATFORM base", "linux/arm64"),
        ("FROM --platform=linux/${TARGETARCH} base", "linux/arm64"),
        ("FROM --platform=$BUILDPLATFORM compiler AS build\nFROM base\nCOPY --from=build /a /a", "linux/arm64"),
        ("FROM --platform=$BUILDPLATFORM compiler\nFROM base\nCOPY --from=0 /a /a", "linux/arm64"),
        ("FROM --platform=linux/arm64 base\nRUN <<END\nFROM --platform=linux/amd64 no\nEND", "linux/arm64"),
        ("# FROM --platform=linux/amd64 base\nFROM base", "linux/arm64"),
    ],
)
def test_a_dockerfile_for_the_functions_platform_is_accepted(app: Path, dockerfile: str, platform: str) -> None:
    (app / "Dockerfile").write_text(dockerfile)
    assert tag(platform=platform)


@pytest.mark.parametrize(
    ("dockerfile", "changed"),
    [
        ("FROM --platform=linux/amd64 base", {}),
        ("from --platform=x86_64 base as final", {"target": "FINAL"}),
        ("FROM \\\n  --platform=linux/amd64 \\\n  base", {}),
        ("ARG P=linux/amd64\nFROM --platform=$P base", {}),
        ("ARG P=linux/arm64\nFROM --platform=${P} base", {"args": {"P": "linux/amd64"}}),
        ("FROM --platform=${P:-linux/amd64} base", {}),
        ("FROM --platform=linux/amd64 base AS first\nFROM first\nRUN true", {}),
        ("FROM --platform=linux/amd64 base\nFROM other", {"target": "0"}),
        # It would follow the machine that builds, and the tag would not.
        ("FROM compiler\nFROM --platform=linux/amd64 base\nCOPY --from=0 /a /a", {}),
        ("FROM --platform=$BUILDPLATFORM base", {}),
    ],
)
def test_a_dockerfile_for_another_platform_is_refused(app: Path, dockerfile: str, changed: dict[str, object]) -> None:
    # BuildKit writes the target platform into the image's configuration all the same.
    (app / "Dockerfile").write_text(dockerfile)
    with pytest.raises(ImageUnusable, match=r"^app/Dockerfile: FROM --platform=.* image is for linux/arm64"):
        tag(platform="linux/arm64", **changed)


# ---- .dockerignore


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        ("", ["Dockerfile", "app.py", "lib/a.py", "lib/deep/a.py", "notes.md"]),
        ("*\n!app.py", ["app.py"]),
        ("# app.py\n*.py", ["Dockerfile", "lib/a.py", "lib/deep/a.py", "notes.md"]),
        ("**/*.py", ["Dockerfile", "notes.md"]),
        ("/lib/", ["Dockerfile", "app.py", "notes.md"]),
        ("lib\n!lib/deep", ["Dockerfile", "app.py", "lib/deep/a.py", "notes.md"]),
        ("lib/*/a.py", ["Dockerfile", "app.py", "lib/a.py", "notes.md"]),
        ("./notes.md", ["Dockerfile", "app.py", "lib/a.py", "lib/deep/a.py"]),
        # A .gitignore would say otherwise of these; so says github.com/tonistiigi/fsutil, with which BuildKit walks.
        ("[!a]pp.py", ["Dockerfile", "lib/a.py", "lib/deep/a.py", "notes.md"]),
        ("[^n]*", ["notes.md"]),
        ("l**", ["Dockerfile", "app.py", "notes.md"]),
        ("**.py", ["Dockerfile", "notes.md"]),
        ("**p.py", ["Dockerfile", "lib/a.py", "lib/deep/a.py", "notes.md"]),
        ("lib/**", ["Dockerfile", "app.py", "notes.md"]),
        ("**/*.py\n!lib", ["Dockerfile", "notes.md"]),
        ("*\n!**/a.py", ["lib/a.py", "lib/deep/a.py"]),
        ("lib/../notes.md\n//app.py", ["Dockerfile", "lib/a.py", "lib/deep/a.py"]),
        (" # app.py", ["Dockerfile", "app.py", "lib/a.py", "lib/deep/a.py", "notes.md"]),
        ("LIB", ["Dockerfile", "app.py", "lib/a.py", "lib/deep/a.py", "notes.md"]),
        ("\ufeffnotes.md\r\nlib\r\n", ["Dockerfile", "app.py"]),
    ],
)
def test_dockerignore_is_read_as_the_builder_reads_it(app: Path, patterns: str, kept: list[str]) -> None:
    (app / "lib" / "deep").mkdir(parents=True)
    for name in ("lib/a.py", "lib/deep/a.py", "notes.md"):
        (app / name).write_text("")
    (app / "Dockerfile").write_text("FROM scratch\n")
    (app / ".dockerignore").write_text(patterns)
    assert [name for name in sent() if name != ".dockerignore"] == kept


def test_copied_files_that_the_ignore_file_excludes_are_refused_with_the_lines_to_write(app: Path) -> None:
    (app / "lib").mkdir()
    for name in ("more.py", "lib/a.py"):
        (app / name).write_text("")
    (app / "Dockerfile").write_text(
        "FROM scratch\n# code\nCOPY app.py more.py /\nADD \\ \n  --chmod=644 ./lib/ /lib/\n"
    )
    (app / ".dockerignore").write_text("# all but\n*\n!app.py\n")
    with pytest.raises(ImageUnusable) as refused:
        tag()
    assert str(refused.value).splitlines() == [
        "The build would fail, because files that the Dockerfile copies are excluded:",
        "    app/Dockerfile:3: COPY more.py: app/.dockerignore:2 (*) excludes more.py",
        "    app/Dockerfile:4: ADD ./lib/: app/.dockerignore:2 (*) excludes lib/a.py",
        "To send them to the builder, write into app/.dockerignore",
        "    !more.py",
        "    !lib",
    ]
    with (app / ".dockerignore").open("a") as file:
        file.write("!more.py\n!lib\n")
    assert sent() == ["app.py", "lib/a.py", "more.py"]


@pytest.mark.parametrize(
    ("dockerfile", "options"),
    [
        ("FROM scratch\nCOPY . /", {}),
        ("FROM scratch\nCOPY app.py /", {}),
        ("FROM scratch\nCOPY --from=base more.py /", {}),
        ("FROM base AS unused\nCOPY more.py /\nFROM scratch\nCOPY app.py /", {}),
        ("FROM scratch AS small\nFROM scratch\nCOPY more.py /", {"target": "small"}),
        ("FROM scratch\nCOPY <<more.py /x\nCOPY more.py /\nmore.py\nADD https://a/more.py /", {}),
        ("FROM scratch\nRUN cp more.py from=unused\nCOPY link/more.py missing.py $UNKNOWN /", {}),
        ('FROM scratch\nCOPY ["app.py", "/more.py"]', {}),
        ('FROM scratch\nADD ["https://a/more.py", "/"]', {}),
        ("FROM scratch\nCOPY a[ /x\nCOPY [more.py /x", {}),
    ],
)
def test_what_is_not_copied_from_the_context_for_sure_is_not_refused(
    app: Path, dockerfile: str, options: dict[str, str]
) -> None:
    (app / "Dockerfile").write_text(dockerfile)
    (app / "https:" / "a").mkdir(parents=True)
    for name in ("more.py", "https:/a/more.py"):
        (app / name).write_text("")
    (app / "link").symlink_to(".")
    (app / ".dockerignore").write_text("**/more.py\n")
    build = ImageBuild(context="app", **options)  # type: ignore[arg-type]
    assert build.tag
    assert not build.warning


@pytest.mark.parametrize(
    "dockerfile",
    [
        "FROM base AS code\nCOPY {} /\nFROM scratch\nCOPY --from=code /a /a",
        "FROM base AS code\nCOPY {} /\nFROM code",
        "FROM base\nCOPY {} /\nFROM scratch\nRUN --mount=type=bind,from=0,target=/x true",
        'FROM scratch\nCOPY ["{}", "/x"]',
    ],
)
def test_a_stage_that_the_image_needs_is_read(app: Path, dockerfile: str) -> None:
    (app / "Dockerfile").write_text(dockerfile.format("more.py"))
    (app / "more.py").write_text("")
    (app / ".dockerignore").write_text("more.py\n")
    with pytest.raises(ImageUnusable, match=r"COPY more.py: app/.dockerignore:1 \(more.py\) excludes more.py"):
        tag()


@pytest.mark.parametrize(
    ("dockerfile", "options", "warned"),
    [
        ("COPY *.txt app.py /", {}, "COPY *.txt: app/.dockerignore:1 (*.txt) excludes notes.txt"),
        ("ARG NAME=notes\nCOPY $NAME.txt /", {}, "COPY notes.txt: app/.dockerignore:1 (*.txt) excludes notes.txt"),
        ("ARG NAME\nCOPY ${NAME}.txt /", {"args": {"NAME": "notes"}}, "COPY notes.txt: "),
        ("COPY *.py /", {}, ""),
        ("ARG NAME\nCOPY ${NAME}.txt /", {}, ""),
    ],
)
def test_what_the_build_may_not_need_is_a_warning(
    app: Path, dockerfile: str, options: dict[str, dict[str, str]], warned: str
) -> None:
    (app / "Dockerfile").write_text(f"FROM scratch\n{dockerfile}\n")
    (app / "notes.txt").write_text("")
    (app / ".dockerignore").write_text("*.txt\n")
    warning = ImageBuild(context="app", **options).warning  # type: ignore[arg-type]
    assert warned in warning
    assert bool(warned) == bool(warning)


@pytest.mark.parametrize("line", ["[", "a/[]b]", "[b-a]", "!", "a\\"])
def test_a_line_that_is_no_pattern_is_named(app: Path, line: str) -> None:
    (app / ".dockerignore").write_text(f"*.log\n{line}\n")
    with pytest.raises(ImageUnusable, match=r"^app/\.dockerignore: '.*' is not a pattern"):
        tag()


# ---- what must not be sent to the builder


@pytest.mark.parametrize(
    ("path", "named"),
    [
        (".env", ".env"),
        ("config/.env.production", "config/.env.production"),
        (".git/config", ".git"),
        ("lib/.aws/credentials", "lib/.aws"),
        (".ssh/known_hosts", ".ssh"),
        ("id_ed25519", "id_ed25519"),
        ("tls/server.pem", "tls/server.pem"),
        ("server.key", "server.key"),
    ],
)
def test_what_looks_like_a_secret_is_refused_until_it_is_excluded_or_allowed(app: Path, path: str, named: str) -> None:
    (app / path).parent.mkdir(parents=True, exist_ok=True)
    (app / path).write_text("hidden")
    with pytest.raises(ImageUnusable) as refused:
        tag()
    assert f"write into app/.dockerignore\n    {named}\n" in str(refused.value)
    assert "hidden" not in str(refused.value)
    assert path in sent(allow_secrets=[named])
    (app / ".dockerignore").write_text(named)
    assert path not in sent()


@pytest.mark.parametrize(
    "name", [".env.example", ".env.sample", ".env.template", ".environment", "key.py", ".gitignore"]
)
def test_what_only_resembles_a_secret_is_sent(app: Path, name: str) -> None:
    (app / name).write_text("")
    assert name in sent()


def test_certificates_are_no_secret_but_a_key_among_them_is(app: Path) -> None:
    certificate = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"
    (app / "ca.pem").write_text(f"# the issuer\n{certificate * 2}")
    assert "ca.pem" in sent()
    (app / "ca.pem").write_text(f"{certificate}-----BEGIN RSA PRIVATE KEY-----\n")
    with pytest.raises(ImageUnusable, match=r"look like secrets.*ca\.pem"):
        tag()


def test_a_link_with_the_name_of_a_secret_holds_none(app: Path) -> None:
    (app / "id_rsa").symlink_to("app.py")
    assert "id_rsa" in sent()


def test_many_secrets_are_listed_once_each_and_their_lines_are_the_fix(app: Path) -> None:
    names = [".env", ".git/config", ".git/objects/aa/bb", "#a [1].key", "!b*.key", *(f"{n}.key" for n in range(20))]
    for name in names:
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).write_text("")
    with pytest.raises(ImageUnusable) as refused:
        tag()
    assert "and 14 more" in str(refused.value)
    lines = [line.strip() for line in str(refused.value).splitlines() if line.startswith("    ")]
    assert len(lines) == 24
    (app / ".dockerignore").write_text("\n".join(lines))
    assert sent() == [".dockerignore", "Dockerfile", "app.py"]


def test_a_large_context_is_refused_with_what_is_large(app: Path) -> None:
    (app / "data").mkdir()
    for name, size in (("data/big", 3 * 2**30), ("data/small", 2**20), ("model", 2**30)):
        with (app / name).open("wb") as file:
            file.truncate(size)  # a hole: no disk is filled
    with pytest.raises(ImageUnusable) as refused:
        ImageBuild(context="app")
    assert "5 files of 4,097 MB in total; the limit is 2048 MB" in str(refused.value)
    assert "data (3,073 MB), data/big (3,072 MB), model (1,024 MB), data/small (1 MB)" in str(refused.value)
    assert "write into app/.dockerignore\n    data\n" in str(refused.value)
    assert "Example: contextLimit: 4098" in str(refused.value)
    assert ImageBuild(context="app", context_limit=4098).files
    (app / ".dockerignore").write_text("data")
    assert ImageBuild(context="app").files


def test_a_context_of_more_files_than_a_process_may_open_has_a_tag(app: Path) -> None:
    for number in range(1_097):
        folder = app / str(number % 100)
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.txt").write_text(f"file {number}")
    before = tag()
    assert len(sent()) == 1_099
    (app / "0" / "0.txt").write_text("file 1")
    assert tag() != before


def test_a_large_file_is_never_in_memory_as_a_whole(app: Path) -> None:
    with (app / "model").open("wb") as file:
        file.truncate(64 * 2**20)
    tracemalloc.start()
    try:
        tag()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8 * 2**20


# ---- what is no plain file


@pytest.mark.parametrize(
    ("links", "named"),
    [
        ({"link": "/etc/hosts"}, "link -> /etc/hosts"),
        ({"link": "../outside"}, "link -> ../outside"),
        ({"link": "../app/app.py"}, "link -> ../app/app.py"),
        ({"a": "b", "b": "../outside"}, "a -> b, b -> ../outside"),
        ({"here": ".", "link": "here/../outside"}, "link -> here/../outside"),
        ({"a": "b", "b": "a"}, "a -> b, b -> a"),
    ],
    ids=str,
)
def test_a_link_out_of_the_context_is_refused_with_the_fix(app: Path, links: dict[str, str], named: str) -> None:
    # What it points to is not sent, and the docker provider hashes where it leads to on this machine.
    for name, text in links.items():
        (app / name).symlink_to(text)
    with pytest.raises(ImageUnusable) as refused:
        tag()
    assert f"lead out of it or in a circle: {named}. " in str(refused.value)
    lines = [line.strip() for line in str(refused.value).splitlines() if line.startswith("    ")]
    (app / ".dockerignore").write_text("\n".join(lines))
    assert tag()


@pytest.mark.parametrize("text", ["app.py", "./lib/../app.py", "lib", "nowhere", "nowhere/deeper", "/var/task/nowhere"])
def test_a_link_within_the_context_or_to_nothing_is_sent_as_a_link(app: Path, text: str) -> None:
    (app / "lib").mkdir()
    (app / "lib" / "up").symlink_to("../app.py")
    before = tag()
    (app / "link").symlink_to(text)
    assert "link" in sent()
    assert tag() != before


def test_a_link_has_another_tag_than_a_file_with_its_text(app: Path) -> None:
    (app / "start").symlink_to("app.py")
    linked = tag()
    (app / "start").unlink()
    (app / "start").write_text("app.py")
    (app / "start").chmod(0o755)
    assert tag() != linked


@pytest.mark.parametrize("make", ["socket", "pipe"])
def test_a_socket_or_a_pipe_is_refused(app: Path, make: str) -> None:
    if make == "pipe":
        os.mkfifo(app / "it")
    else:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("app/it")
    with pytest.raises(ImageUnusable, match=r"a socket, a pipe or a device: it.*\n    it"):
        tag()


def test_a_name_that_is_no_text_is_sent_as_it_is(app: Path) -> None:
    first = tag()
    (app / os.fsdecode(b"caf\xe9")).write_text("")
    assert tag() != first
    (app / os.fsdecode(b"caf\xe9.key")).write_text("")
    with pytest.raises(ImageUnusable, match=r"caf\\udce9\.key") as refused:
        tag()
    str(refused.value).encode()


@pytest.mark.parametrize("name", ["app.py", "lib", "Dockerfile", ".dockerignore"])
def test_what_cannot_be_read_is_named(app: Path, name: str) -> None:
    (app / "lib").mkdir()
    (app / ".dockerignore").touch()
    for folder in (app.parent, app):
        folder.chmod(0o755)
    (app / name).chmod(0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may read everything
    try:
        with pytest.raises(ImageUnusable, match=rf"^app/{name} .*cannot be read: Permission denied"):
            tag()
    finally:
        os.seteuid(user)
        (app / name).chmod(0o755)
