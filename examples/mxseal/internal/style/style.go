// Package style has the style sheet that the pages of mxseal share. It suits light and dark, wide and narrow
// windows, and loads nothing from elsewhere.
package style

import (
	_ "embed"
	"html/template"
)

//go:embed style.css
var text string

// CSS returns the style sheet.
func CSS() template.CSS { return template.CSS(text) }
