package serve

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
	"github.com/mxseal/mxseal/internal/test/interop"
)

const packaging = "../../packaging"

func packaged(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(packaging, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The configuration of the package is valid, with and without the lines that are commented out, and there is a
// unit for each socket that it names.
func TestPackagedConfigurationIsValid(t *testing.T) {
	text := packaged(t, "mxseal.conf")
	for _, text := range []string{text, regexp.MustCompile(`(?m)^#(\[|[a-z-]+ =)`).ReplaceAllString(text, "$1")} {
		c, err := config.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range append(c.Socketmap.Listen, c.Collector.Listen...) {
			unit := packaged(t, "mxseal-"+a.Where+".socket")
			if a.Kind != "systemd" || !strings.Contains(unit, "FileDescriptorName="+a.Where+"\n") {
				t.Errorf("%s is not in %s", a, unit)
			}
		}
		if !strings.HasPrefix(c.Store.File, "/var/lib/mxseal/") || len(c.Socketmap.Listen) != 1 {
			t.Errorf("%+v", c)
		}
	}
}

// The manual page has every key, and only keys that exist.
func TestManualHasAllKeys(t *testing.T) {
	page := packaged(t, "mxseal.conf.5")
	keys := map[string]bool{}
	var visit func(reflect.Type)
	visit = func(kind reflect.Type) {
		for i := range kind.NumField() {
			field := kind.Field(i)
			inner := field.Type
			if inner.Kind() == reflect.Map {
				inner = inner.Elem()
			}
			key := field.Tag.Get("toml")
			if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[config.Address]() {
				if !strings.Contains(page, "\n.Ss ["+key+"]\n") && !strings.Contains(page, "\n.Ss ["+key+".\"") {
					t.Errorf("the page has no section [%s]", key)
				}
				visit(inner)
				continue
			}
			keys[key] = true
			if !regexp.MustCompile(`(?m)^\.(It )?Cm (.* , )?` + regexp.QuoteMeta(key) + `( .*)?$`).MatchString(page) {
				t.Errorf("the page does not have %s", key)
			}
		}
	}
	visit(reflect.TypeFor[config.Config]())
	for _, found := range regexp.MustCompile(`(?m)^\.It Cm (.*)$`).FindAllStringSubmatch(page, -1) {
		for _, key := range strings.Split(found[1], " , ") {
			if !keys[key] {
				t.Errorf("there is no key %s", key)
			}
		}
	}
}

func TestManualsAreWellFormed(t *testing.T) {
	mandoc := interop.Need(t, "mandoc")
	for _, name := range []string{"mxseal-serve.8", "mxseal.conf.5"} {
		if text, err := exec.Command(mandoc, "-T", "lint", "-W", "warning", filepath.Join(packaging, name)).CombinedOutput(); err != nil || len(text) > 0 {
			t.Errorf("%v\n%s", err, text)
		}
	}
}

// The unit leaves the daemon no more rights than it needs.
func TestUnitIsConfined(t *testing.T) {
	analyze := interop.Need(t, "systemd-analyze")
	text, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", filepath.Join(packaging, "mxseal.service")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	found := regexp.MustCompile(`exposure level for mxseal.service: ([0-9.]+)`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s", text)
	}
	if level, err := strconv.ParseFloat(string(found[1]), 64); err != nil || level > 1.3 {
		t.Errorf("exposure %s, want at most 1.3", found[1])
	}
}
