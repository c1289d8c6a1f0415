package page

import (
	"fmt"
	"html/template"
	"strings"
)

// layout is how the boxes of a diagram lie, in units of the picture.
type layout struct {
	width, height, gap int // of a box, and between two
	nameLength         int // characters that fit
	lineLength         int
	down               bool // below each other; otherwise in a row
}

const (
	margin = 3
	usual  = 7 // boxes in a row
)

// Wide returns the diagram with all links in one row, for wide windows.
func (c chain) Wide() template.HTML {
	return layout{width: 168, height: 104, gap: 34, nameLength: 17, lineLength: 20}.draw(c)
}

// Narrow returns the diagram with the links below each other.
func (c chain) Narrow() template.HTML {
	return layout{width: 340, height: 56, gap: 22, nameLength: 27, lineLength: 46, down: true}.draw(c)
}

// draw draws the links, with an arrow from each to the next one.
func (l layout) draw(c chain) template.HTML {
	var b strings.Builder
	columns, rows := max(len(c.Links), usual), 1 // so that all rows of a page have the same scale
	if l.down {
		columns, rows = 1, len(c.Links)
	}
	width, height := columns*(l.width+l.gap)-l.gap+2*margin, rows*(l.height+l.gap)-l.gap+2*margin
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" style="max-width:%dpx" role="img" aria-label="%s">`, width, height, width, template.HTMLEscapeString(c.text()))
	for i, box := range c.Links {
		x, y := margin+i*(l.width+l.gap), margin
		if l.down {
			x, y = margin, margin+i*(l.height+l.gap)
		}
		if i > 0 {
			b.WriteString(l.arrow(c.Links[i-1], box, x, y))
		}
		b.WriteString(l.box(box, x, y))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// text returns the chain in words, for those who do not see the picture.
func (c chain) text() string {
	var parts []string
	for _, l := range c.Links {
		parts = append(parts, fmt.Sprintf("%s (%s): %s", l.Name, strings.Join(l.Lines, ", "), l.State))
	}
	return c.Title + ": " + strings.Join(parts, "; then ")
}

// arrow returns the arrow to the box at x, y. It is dashed unless both its ends are proven.
func (l layout) arrow(from, to link, x, y int) string {
	class := "arrow"
	if from.State != good || to.State != good {
		class = "arrow weak"
	}
	x1, y1, x2, y2 := x-l.gap+2, y+l.height/2, x-3, y+l.height/2
	head := fmt.Sprintf("%d,%d %d,%d %d,%d", x2, y2, x2-9, y2-5, x2-9, y2+5)
	if l.down {
		x1, y1, x2, y2 = x+l.width/2, y-l.gap+2, x+l.width/2, y-3
		head = fmt.Sprintf("%d,%d %d,%d %d,%d", x2, y2, x2-5, y2-9, x2+5, y2-9)
	}
	return fmt.Sprintf(`<line class="%s" x1="%d" y1="%d" x2="%d" y2="%d"/><polygon class="head" points="%s"/>`, class, x1, y1, x2, y2, head)
}

// box returns the box of a link at x, y. The state is a class, a sign and a word.
func (l layout) box(box link, x, y int) string {
	var b strings.Builder
	class := strings.ReplaceAll(string(box.State), " ", "-")
	fmt.Fprintf(&b, `<g class="%s"><title>%s</title><rect x="%d" y="%d" width="%d" height="%d" rx="6"/>`, class,
		template.HTMLEscapeString(box.Name+": "+strings.Join(box.Lines, ", ")), x, y, l.width, l.height)
	line := func(class, text string, length, dx, dy int) {
		fmt.Fprintf(&b, `<text class="%s" x="%d" y="%d">%s</text>`, class, x+dx, y+dy, template.HTMLEscapeString(fit(text, length)))
	}
	line("name", box.Name, l.nameLength, 10, 22)
	state := box.State.Mark() + " " + string(box.State)
	if l.down {
		line("state end", state, l.lineLength, l.width-10, 22)
		line("", strings.Join(box.Lines, ", "), l.lineLength, 10, 43)
	} else {
		for i, text := range box.Lines[:min(len(box.Lines), 3)] {
			line("", text, l.lineLength, 10, 42+i*17)
		}
		line("state", state, l.lineLength, 10, l.height-9)
	}
	b.WriteString("</g>")
	return b.String()
}

// fit shortens text. The end of a name says less than its beginning.
func fit(text string, length int) string {
	runes := []rune(text)
	if len(runes) <= length {
		return text
	}
	return string(runes[:length-1]) + "\u2026"
}
