// Package doctor is "mxseal doctor": it says what is wrong in the configuration of Postfix.
package doctor

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"strings"

	"github.com/mxseal/mxseal/examples/mxseal/internal/cli"
	"github.com/mxseal/mxseal/examples/mxseal/internal/config"
)

const help = `usage: mxseal doctor [options]

Reads the settings of Postfix, says what keeps the policies of "mxseal serve"
from working or weakens them, and prints the commands that correct main.cf and
master.cf, for this version. It asks the DNS servers of Postfix whether they
validate DNSSEC. It changes nothing.

  -config FILE   the configuration of the daemon. Default: /etc/mxseal.conf
  -postfix DIR   the configuration directory of Postfix. Default: what postconf
                 says

Exit status, also for monitors:
  0  nothing is wrong
  1  something weakens the protection, or could be better
  2  mail is not protected or not sent, or wrong usage
  3  the settings cannot be read
`

const (
	exitAdvice  = 1
	exitProblem = 2
	exitUnknown = 3
)

// Command returns the subcommand.
func Command() cli.Command {
	return cli.Command{Name: "doctor", Summary: "check the settings of Postfix", Help: help, Run: run}
}

func run(ctx context.Context, env *cli.Env, args []string) int {
	flags := cli.NewFlags(Command())
	file := flags.String("config", "/etc/mxseal.conf", "")
	dir := flags.String("postfix", "", "")
	rest, err := flags.Parse(env, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err == nil && len(rest) > 0:
		err = flags.Wrong(env, fmt.Errorf("unexpected argument %s", cli.Clean(rest[0])))
	}
	if err != nil {
		return cli.ExitUsage
	}
	settings, err := config.Read(*file)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; name the configuration of the daemon with -config", err)
	}
	if err != nil {
		flags.Complain(env, err)
		return exitUnknown
	}
	dial := env.DNS.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	p, err := read(ctx, dial, *dir)
	if err != nil {
		flags.Complain(env, err)
		return exitUnknown
	}
	code, commands := 0, 0
	for _, f := range examine(p, settings) {
		word := "advice"
		switch f.severity {
		case problem:
			code, word = exitProblem, "problem"
		case advice:
			code = max(code, exitAdvice)
		}
		fmt.Fprintf(env.Stdout, "%s: %s\n", word, cli.Clean(f.text))
		for _, line := range f.lines {
			fmt.Fprintf(env.Stdout, "  %s\n", p.command(line, *dir))
			commands++
		}
	}
	if commands > 0 {
		fmt.Fprintln(env.Stdout, "Run the commands, and then restart Postfix, for example by \"systemctl restart postfix\".")
	}
	if code == 0 {
		fmt.Fprintf(env.Stdout, "Postfix %s uses the policies of mxseal, and nothing is wrong.\n", cli.Clean(p.version.text))
	}
	return code
}

// command returns the command for a line of a finding. A line that is pasted into main.cf with the blanks before it
// would continue the setting above. What cannot be a command is text that begins with "by hand: ".
func (p *postfix) command(line, dir string) string {
	options, isCommand := strings.CutPrefix(line, postconfCommand)
	name, value, _ := strings.Cut(line, " = ")
	if service := p.inMaster[name]; service != "" {
		name = service + "/" + name
	}
	inMaster := strings.Contains(name, "/")
	if inMaster && !strings.Contains(value, "{") { // "postconf -P" takes no blanks
		value = strings.Join(strings.FieldsFunc(value, isSeparator), ",")
	}
	switch {
	case isCommand:
	case inMaster:
		options = "-P " + quoted(name+"="+value)
	default:
		options = "-e " + quoted(line)
	}
	if dir != "" {
		options = "-c " + quoted(dir) + " " + options
	}
	command := postconfCommand + options
	if cli.Clean(command) != command || inMaster && !isCommand && strings.ContainsAny(value, " \t") {
		return "by hand: " + cli.Clean(name+" = "+value)
	}
	return command
}

// quoted returns a word of a command for the shell.
func quoted(word string) string {
	isPlain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./:=,", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !isPlain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
