// A runtime of its own, of the standard library alone: answers each event with it.
// https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

func main() {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	for {
		next, err := http.Get(api + "next")
		if err != nil {
			panic(err)
		}
		event, _ := io.ReadAll(next.Body)
		next.Body.Close()
		answer := fmt.Sprintf(`{"event": %s}`, event)
		id := next.Header.Get("Lambda-Runtime-Aws-Request-Id")
		done, err := http.Post(api+id+"/response", "application/json", strings.NewReader(answer))
		if err != nil {
			panic(err)
		}
		done.Body.Close()
	}
}
