package v3

import (
	"github.com/pb33f/libopenapi/datamodel/high/base"
	"github.com/pb33f/libopenapi/orderedmap"
)

type Document struct {
	Components struct {
		Schemas *orderedmap.Map[string, *base.SchemaProxy]
	}
	Info  *struct{ Version string }
	Paths *struct {
		PathItems *orderedmap.Map[string, *PathItem]
	}
}

type PathItem struct{ Get, Post, Put, Delete, Patch, Head *Operation }

type Operation struct {
	OperationId, Summary, Description string
	Tags                              []string
	Parameters                        []*Parameter
	RequestBody                       *struct{ Content Content }
	Responses                         *Responses
	Deprecated                        *bool
	Extensions                        base.Extensions
}

type Parameter struct {
	Name, In, Description string
	Required              *bool
	Schema                *base.SchemaProxy
}

type Content = *orderedmap.Map[string, *MediaType]

type MediaType struct{ Schema *base.SchemaProxy }

type Responses struct {
	Codes   *orderedmap.Map[string, *Response]
	Default *Response
}

type Response struct {
	Description string
	Content     Content
}
