// Package schema checks with a JSON Schema that the reports from all tests have
// the form of RFC 8460 section 4.4. It is a separate module, so that users of
// the library do not depend on the validator.
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

// NewChecker compiles the schema, which expresses RFC 8460 section 4.4. Formats
// are checked.
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

// Check returns an error if text is not a valid report.
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
