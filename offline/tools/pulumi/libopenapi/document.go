// Package libopenapi has the names of the OpenAPI parser that the Pulumi CLI uses, and no parser. To compile the parser
// takes a fifth of the time for the whole CLI, and only `pulumi api` uses it, to list the operations of Pulumi Cloud.
// If another version of the CLI uses other names, add them, or remove the `replace` from go.mod.
package libopenapi

import (
	"errors"

	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
)

type Document struct{}

type Model struct{ Model v3.Document }

func NewDocument([]byte) (Document, error) {
	return Document{}, errors.New("this build of the CLI has no `pulumi api`; install the official one")
}

func (Document) BuildV3Model() (*Model, error) { return nil, nil }
