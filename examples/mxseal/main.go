// Mxseal is a command for people who run mail domains and mail servers. It shows what
// senders find about a domain, what to publish, and how a message was delivered.
//
//	mxseal check -connect example.org
//	mxseal advise example.org
//
// The manual page mxseal.1 describes all subcommands, and "mxseal help check" one.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, &cli.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Terminal: isTerminal(os.Stderr), Patience: time.Second,
	}, os.Args[1:])
	stop()
	os.Exit(code)
}

// isTerminal reports whether f is a terminal.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// run runs the subcommand that the arguments name, and returns the exit status.
func run(ctx context.Context, env *cli.Env, args []string) int {
	if len(args) == 0 {
		usage(env.Stderr)
		return cli.ExitUsage
	}
	switch args[0] {
	case "-version", "--version", "version":
		fmt.Fprintln(env.Stdout, version())
		return 0
	case "-h", "-help", "--help", "help":
		return help(env, args[1:])
	}
	command, found := find(args[0])
	if !found {
		fmt.Fprintf(env.Stderr, "mxseal: there is no subcommand %s\n", cli.Clean(args[0]))
		usage(env.Stderr)
		return cli.ExitUsage
	}
	return command.Run(ctx, env, args[1:])
}

// help prints the help text of a subcommand, or the list of all.
func help(env *cli.Env, names []string) int {
	if len(names) == 0 {
		usage(env.Stdout)
		return 0
	}
	command, found := find(names[0])
	if !found {
		fmt.Fprintf(env.Stderr, "mxseal: there is no subcommand %s\n", cli.Clean(names[0]))
		return cli.ExitUsage
	}
	fmt.Fprint(env.Stdout, command.Help)
	return 0
}

func find(name string) (cli.Command, bool) {
	for _, command := range commands() {
		if command.Name == name {
			return command, true
		}
	}
	return cli.Command{}, false
}

func usage(w io.Writer) {
	fmt.Fprint(w, "usage: mxseal SUBCOMMAND [options] arguments\n\n")
	for _, command := range commands() {
		fmt.Fprintf(w, "  %-8s %s\n", command.Name, command.Summary)
	}
	fmt.Fprint(w, "\n\"mxseal help SUBCOMMAND\" describes one; \"mxseal -version\" prints the version.\n")
}

// version returns the version of the module, or that of the sources.
func version() string {
	text := "mxseal (version unknown)"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return text
	}
	if info.Main.Version != "" {
		text = "mxseal " + info.Main.Version
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			text += " " + setting.Value
		}
	}
	return text + " " + info.GoVersion
}
