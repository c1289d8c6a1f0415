// Package release tests that users can get every module of this repository after
// a release.
package release

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/internal/test/interop"
)

const (
	root    = "github.com/mxseal/mxseal"
	version = "v0.999.0"
)

// needTime is for tests that take longer than most others together: a user gets every
// module, with an empty module cache.
func needTime(t *testing.T) {
	t.Helper()
	interop.NeedThat(t, os.Getenv("CI") == "true" || interop.Complete(), "it downloads every module for a user of its own: set CI=true")
}

// After .ci/release, every module of the repository can be added from a proxy
// to an empty module, and all its packages build there.
func TestModulesCanBeDownloaded(t *testing.T) {
	if testing.Short() {
		t.Skip("builds every module")
	}
	needTime(t)
	t.Parallel()
	repo := newRepository(t)
	before := repo.git("rev-parse", "HEAD")
	out := repo.run(".ci/release", version)
	modules := repo.modules()
	tags := strings.Fields(repo.git("tag"))
	if len(tags) != len(modules) {
		t.Errorf("tags %q for %d modules", tags, len(modules))
	}
	for _, tag := range tags {
		if !strings.Contains(out, "git push origin "+tag+"\n") {
			t.Errorf("no command pushes the tag %s:\n%s", tag, out)
		}
	}
	if status := repo.git("status", "--porcelain"); status != "" {
		t.Errorf("the release left changes:\n%s", status)
	}
	if diff := repo.git("diff", "--stat", before, "HEAD", "--", ":!*go.mod"); diff != "" {
		t.Errorf("after the release, these files differ:\n%s", diff)
	}

	proxy, cache := repo.proxy(modules), t.TempDir()
	for _, module := range modules {
		t.Run(module.path, func(t *testing.T) {
			hasLicense(t, proxy, module.path)
			user := newUser(t, proxy, cache)
			user.run("go", "get", module.path+"@"+version)
			packages := user.packages(module.path)
			if len(packages.library) > 0 {
				user.write("user.go", importing(packages.library))
				user.run("go", "mod", "tidy")
				user.run("go", "build", ".")
			}
			if len(packages.commands) > 0 {
				install := []string{"install"}
				for _, command := range packages.commands {
					install = append(install, command+"@"+version)
				}
				user.run("go", install...)
			}
		})
	}
}

// A tag without .ci/release does not produce a usable nested module. This shows
// that the previous test can fail.
func TestTagsAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("downloads every module")
	}
	needTime(t)
	t.Parallel()
	repo := newRepository(t)
	modules := repo.modules()
	for _, module := range modules {
		repo.git("tag", module.tag())
	}
	proxy, cache := repo.proxy(modules), t.TempDir()
	nested := 0
	for _, module := range modules {
		if module.path == root {
			continue
		}
		nested++
		user := newUser(t, proxy, cache)
		out, err := user.command("go", "get", module.path+"@"+version).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "v0.0.0") {
			t.Errorf("%s@%s: got %v, want an error that no version v0.0.0 exists\n%s", module.path, version, err, out)
		}
	}
	if nested == 0 {
		t.Error("no nested module was found")
	}
}

// The check of the built-in trust anchors warns 60 days before they could be outdated, and of a key that they
// lack. It never fails.
func TestAnchorsWarn(t *testing.T) {
	t.Parallel()
	interop.Need(t, "bash")
	c := &checkout{t: t, dir: "../../.."}
	known := filepath.Join(t.TempDir(), "root.ds")
	unknown := known + ".new"
	lines := ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n" +
		". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16\n"
	for name, text := range map[string]string{known: lines, unknown: lines + ". IN DS 12345 13 2 " + strings.Repeat("AB", 32) + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		date, keys string
		warnings   int
	}{
		{"2029-08-11", known, 0}, {"2029-08-13", known, 1}, {"2031-01-01", known, 1}, {"2026-11-27", unknown, 1}, {"2031-01-01", unknown, 2}, {"2026-11-27", known + ".none", 0},
	} {
		out := c.run(".ci/anchors", test.date, test.keys)
		if got := strings.Count(out, "WARNING: "); got != test.warnings {
			t.Errorf("%s %s: %d warnings, want %d\n%s", test.date, test.keys, got, test.warnings, out)
		}
	}
}

// A checkout is a directory in which commands run.
type checkout struct {
	t   *testing.T
	dir string
	env []string
}

func (c *checkout) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), c.env...)
	return cmd
}

// run returns what the command wrote to its standard output.
func (c *checkout) run(name string, args ...string) string {
	c.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := c.command(name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

func (c *checkout) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o666); err != nil {
		c.t.Fatal(err)
	}
}

// A repository is a copy of this one with its own history and tags.
type repository struct{ checkout }

func newRepository(t *testing.T) *repository {
	t.Helper()
	interop.Need(t, "git")
	interop.Need(t, "bash")
	r := &repository{checkout{t: t, dir: t.TempDir(), env: []string{
		"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=test", "GIT_AUTHOR_EMAIL=test@example.com",
		"GIT_COMMITTER_NAME=test", "GIT_COMMITTER_EMAIL=test@example.com",
	}}}
	copyTree(t, r.dir, "../../..")
	r.write("CHANGELOG.md", "## "+version+"\n")
	r.git("init", "--quiet", "--initial-branch=main")
	r.git("add", ".")
	r.git("commit", "--quiet", "--message=all")
	return r
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	return strings.TrimSpace(r.run("git", args...))
}

// copyTree copies all files except those of git.
func copyTree(t *testing.T, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case entry.Name() == ".git" && entry.IsDir():
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o777)
		case !entry.Type().IsRegular() || name == ".git":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), text, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// module is a module of the repository that is released.
type module struct{ path, dir string }

func (m module) tag() string { return filepath.ToSlash(filepath.Join(m.dir, version)) }

// modules finds the modules by their go.mod files. The modules of tests and
// tools are not released.
func (r *repository) modules() []module {
	r.t.Helper()
	var found []module
	for _, file := range strings.Fields(r.git("ls-files", "go.mod", "*/go.mod")) {
		dir := filepath.Dir(file)
		if !strings.HasPrefix(file, ".ci/") && !strings.HasPrefix(file, "internal/test/") {
			found = append(found, module{filepath.ToSlash(filepath.Join(root, dir)), dir})
		}
	}
	return found
}

// proxy returns the GOPROXY of users: first a directory with the tagged
// modules, then the proxies of this machine. The module cache comes before the
// network.
func (r *repository) proxy(modules []module) string {
	r.t.Helper()
	cache := r.t.TempDir()
	c := checkout{t: r.t, dir: r.t.TempDir(), env: append(r.env,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://"+r.dir+".insteadOf", "GIT_CONFIG_VALUE_0=https://"+root,
		"GOPRIVATE="+root+","+root+"/*", "GOMODCACHE="+cache, "GOFLAGS=-modcacherw", "GOWORK=off",
	)}
	args := []string{"mod", "download"}
	for _, module := range modules {
		args = append(args, module.path+"@"+version)
	}
	c.run("go", args...)
	env := strings.Fields(c.run("go", "env", "GOPROXY"))
	usual := strings.TrimSpace((&checkout{t: r.t}).run("go", "env", "GOMODCACHE"))
	return strings.Join(append([]string{"file://" + cache + "/cache/download", "file://" + usual + "/cache/download"}, env...), ",")
}

// newUser returns an empty module in an environment that gets this repository
// only from the proxy.
func newUser(t *testing.T, proxy, cache string) *checkout {
	t.Helper()
	user := &checkout{t: t, dir: t.TempDir(), env: []string{
		"GOPROXY=" + proxy, "GOMODCACHE=" + cache, "GOBIN=" + t.TempDir(),
		"GOFLAGS=-modcacherw -trimpath", "GOWORK=off",
		// No checksum database contains this version. The go.sum files of this
		// repository contain the hashes of other modules.
		"GOSUMDB=off", "GONOSUMDB=", "GOPRIVATE=", "GONOPROXY=",
	}}
	user.run("go", "mod", "init", "example.com/user")
	return user
}

type packages struct{ library, commands []string }

// packages returns the packages of a module that can be imported, and its
// commands.
func (c *checkout) packages(module string) (p packages) {
	c.t.Helper()
	list := c.run("go", "list", "-e", "-f", "{{.Name}} {{.ImportPath}}", module+"/...")
	for line := range strings.Lines(list) {
		name, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case slices.Contains(strings.Split(path, "/"), "internal"):
		case name == "main":
			p.commands = append(p.commands, path)
		default:
			p.library = append(p.library, path)
		}
	}
	return p
}

// importing returns a package that imports the packages. It is not a program, which would
// have to be linked.
func importing(packages []string) string {
	var b strings.Builder
	b.WriteString("package user\n\n")
	for _, path := range packages {
		b.WriteString("import _ \"" + path + "\"\n")
	}
	return b.String()
}

// hasLicense checks that a module contains the license, which is only in the
// root directory of the repository.
func hasLicense(t *testing.T, proxy, path string) {
	t.Helper()
	dir, _, _ := strings.Cut(strings.TrimPrefix(proxy, "file://"), ",")
	archive, err := zip.OpenReader(filepath.Join(dir, path, "@v", version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if _, err := archive.Open(path + "@" + version + "/LICENSE"); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}
