// Package schema checks that the reports that tests produce have the form of RFC 8460
// section 4.4, by a JSON Schema. It is a module of its own, so that users of the
// library do not depend on the validator.
package schema

import (
	"bytes"
	_ "embed" // for the schema
	"fmt"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed report.schema.json
var reportSchema []byte

// Checker checks reports.
type Checker struct{ schema *jsonschema.Schema }

// NewChecker compiles RFC 8460 section 4.4 as a JSON Schema, with formats asserted.
func NewChecker() (*Checker, error) {
	const name = "report.schema.json"
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(reportSchema))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(name, document); err != nil {
		return nil, err
	}
	schema, err := compiler.Compile(name)
	if err != nil {
		return nil, err
	}
	return &Checker{schema}, nil
}

// Check returns an error if the text is not a report of RFC 8460 section 4.4.
func (c *Checker) Check(text []byte) error {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("not JSON: %w\n%s", err, text)
	}
	if err := c.schema.Validate(document); err != nil {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return nil
}
