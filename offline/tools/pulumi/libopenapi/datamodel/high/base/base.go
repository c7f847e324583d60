package base

import (
	"github.com/pb33f/libopenapi/orderedmap"
	"go.yaml.in/yaml/v4"
)

type Extensions = *orderedmap.Map[string, *yaml.Node]

type SchemaProxy struct{}

func (*SchemaProxy) Schema() *Schema { return nil }

type SchemaOrBool struct{ A *SchemaProxy }

func (*SchemaOrBool) IsA() bool { return false }

type Discriminator struct {
	PropertyName string
	Mapping      *orderedmap.Map[string, string]
}

type Schema struct {
	Type, Required               []string
	Description, Format, Pattern string
	Default                      *yaml.Node
	Enum                         []*yaml.Node
	Extensions                   Extensions
	AllOf, AnyOf, OneOf          []*SchemaProxy
	Properties                   *orderedmap.Map[string, *SchemaProxy]
	AdditionalProperties, Items  *SchemaOrBool
	Discriminator                *Discriminator
	Nullable, ReadOnly           *bool
	MinLength, MaxLength         *int64
	Minimum, Maximum, MultipleOf *float64
}

type Low struct{}

func (*Low) Hash() uint64 { return 0 }

func (*Schema) GoLow() *Low                        { return nil }
func (*Schema) MarshalJSONInline() ([]byte, error) { return nil, nil }
