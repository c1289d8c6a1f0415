package tlsrpt_test

import (
	"bytes"
	"os"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// reportSchema is RFC 8460 section 4.4 as a JSON Schema, with formats asserted.
var reportSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	const name = "report.schema.json"
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		return nil, err
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(name, document); err != nil {
		return nil, err
	}
	return compiler.Compile(name)
})

// checkSchema fails the test if report is not one of RFC 8460 section 4.4.
// Every report that a test has made goes through it.
func checkSchema(t testing.TB, report []byte) {
	t.Helper()
	schema, err := reportSchema()
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(report))
	if err != nil {
		t.Fatalf("not JSON: %v\n%s", err, report)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("%v\n%s", err, report)
	}
}
