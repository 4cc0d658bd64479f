package env_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"orderflow.example/kit/env"
)

// colour is a type that reads itself.
type colour string

func (c *colour) Decode(text string) error {
	if text != "red" && text != "blue" {
		return errors.New("no colour that there is paint for")
	}
	*c = colour(text)
	return nil
}

// word is a type whose errors show what it has read.
type word string

func (*word) Decode(text string) error { return fmt.Errorf("%s is no word", text) }

type settings struct {
	Port    int           `envconfig:"PORT" default:"8000" desc:"a port"`
	Wait    time.Duration `envconfig:"WAIT" default:"10s" desc:"how long | how short"`
	Short   time.Duration `envconfig:"SHORT" default:"1s" desc:"less" allowed:"a duration from 1s to 1m"`
	On      bool          `envconfig:"ON" default:"true" desc:"whether"`
	Factor  float64       `envconfig:"FACTOR" default:"2" desc:"by how much"`
	Name    string        `envconfig:"NAME" desc:"a name"`
	Limit   env.Size      `envconfig:"LIMIT" default:"2MiB" desc:"a size"`
	Colour  colour        `envconfig:"COLOUR" default:"red" desc:"a colour" allowed:"red or blue"`
	Token   string        `envconfig:"TOKEN" secret:"true" desc:"a token"`
	Address string        `envconfig:"ADDRESS" default:"http://localhost" secret:"url" desc:"an address"`

	Computed chan int `ignored:"true"`
}

func (s *settings) LogValue() slog.Value { return env.Masked(s) }

func lookup(variables map[string]string) env.Lookup {
	return func(name string) (string, bool) {
		value, set := variables[name]
		return value, set
	}
}

func read(variables map[string]string) (*settings, error) {
	var s settings
	p := env.Read(lookup(variables), &s)
	env.Between(p, "PORT", s.Port, 1, 65535)
	env.OneOf(p, "NAME", s.Name, "", "anna", "otto")
	if s.Short > time.Minute {
		p.Refuse("SHORT", "who has the time?")
	}
	return &s, p.Err()
}

func TestWhatIsNotSetOrSetToNothingIsTheDefault(t *testing.T) {
	t.Parallel()
	for name, variables := range map[string]map[string]string{
		"nothing set":    nil,
		"set to nothing": {"PORT": "", "WAIT": "", "ON": "", "FACTOR": "", "NAME": "", "LIMIT": "", "COLOUR": "", "TOKEN": "", "ADDRESS": "", "TOKEN_FILE": ""},
	} {
		s, err := read(variables)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s.Port != 8000 || s.Wait != 10*time.Second || !s.On || s.Factor != 2 || s.Limit != 2<<20 || s.Colour != "red" || s.Address != "http://localhost" {
			t.Errorf("%s: %+v", name, s)
		}
		if changed := env.Changed(s); len(changed) != 0 {
			t.Errorf("%s: changed are %v", name, changed)
		}
	}
}

func TestEveryWrongValueIsNamedOnceAndInOneLine(t *testing.T) {
	t.Parallel()
	_, err := read(map[string]string{
		"PORT": "80.5", "WAIT": "30", "SHORT": "2m", "ON": "sometimes", "FACTOR": "much", "NAME": "eve\nmallory", "LIMIT": "1TB", "COLOUR": "green", "TOKEN": "s3cret\n",
	})
	text := fmt.Sprint(err)
	for _, want := range []string{
		`wrong configuration: PORT="80.5": must be a whole number;`,
		`WAIT="30": must be a duration such as 900ms, 10s or 2m (30 what? The unit is missing);`,
		`SHORT="2m": must be a duration from 1s to 1m (who has the time?)`,
		`ON="sometimes": must be true or false`, `FACTOR="much": must be a number`, `NAME="eve\nmallory": must be , anna or otto`,
		`LIMIT="1TB": must be a size such as 65536, 512KiB or 2MiB`, `COLOUR="green": must be red or blue (no colour that there is paint for)`,
		`TOKEN="***": must be without white space or invisible characters at either end`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in: %s", want, text)
		}
	}
	if strings.Contains(text, "\n") || strings.Contains(text, "s3cret") || strings.Count(text, "must be") != 9 {
		t.Error(text)
	}
}

func TestAWrongValueIsShownAsItWasWritten(t *testing.T) {
	t.Parallel()
	_, err := read(map[string]string{"PORT": "0x1FFFF"})
	if text := fmt.Sprint(err); text != `wrong configuration: PORT="0x1FFFF": must be from 1 to 65535` {
		t.Error(text)
	}
}

// A secret that echo, an editor or a Secret's base64 has given a newline is another secret: every request that bears it would fail.
func TestASecretWithWhiteSpaceAtAnEndIsRefused(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"s3cret\n", "s3cret\r\n", " s3cret", "s3cret\t", "\u00a0s3cret", "\ufeffs3cret", "s3cret\u200b", "s3cret\x00"} {
		_, err := read(map[string]string{"TOKEN": secret})
		if text := fmt.Sprint(err); !strings.HasPrefix(text, `wrong configuration: TOKEN="***": must be without white space`) {
			t.Errorf("%q: %s", secret, text)
		}
	}
	if s, err := read(map[string]string{"TOKEN": "s3 cret"}); err != nil || s.Token != "s3 cret" {
		t.Errorf("white space in the middle: %v", err)
	}
	if s, err := read(map[string]string{"ADDRESS": " http://u:s3cret@h\n"}); err != nil || s.Address != "http://u:s3cret@h" {
		t.Errorf("an address has no use for white space: %q, %v", s.Address, err)
	}
}

// What is missing is not something that has to be hidden: who reads *** looks for a mistake in what he has not set.
func TestASecretThatIsMissingIsShownToBeMissing(t *testing.T) {
	t.Parallel()
	var s settings
	p := env.Read(lookup(nil), &s)
	p.Refuse("TOKEN", "")
	if text := fmt.Sprint(p.Err()); !strings.HasPrefix(text, `wrong configuration: TOKEN="": must be`) {
		t.Error(text)
	}
}

// What a type says against a secret that it has read is for the user, who cannot see which part is meant. It says it without the secret.
func TestWhatIsWrongWithASecretIsSaidWithoutIt(t *testing.T) {
	t.Parallel()
	var s struct {
		Paint colour `envconfig:"PAINT" secret:"true" desc:"a secret colour" allowed:"red or blue"`
		Code  int    `envconfig:"CODE" secret:"true" desc:"a secret number"`
		Word  word   `envconfig:"WORD" secret:"true" desc:"a secret word" allowed:"a word"`
	}
	err := fmt.Sprint(env.Read(lookup(map[string]string{"PAINT": "gr33n", "CODE": "s3cret", "WORD": "s3cr3t"}), &s).Err())
	if want := `PAINT="***": must be red or blue (no colour that there is paint for)`; !strings.Contains(err, want) {
		t.Errorf("%s is not in: %s", want, err)
	}
	if want := `WORD="***": must be a word`; !strings.HasSuffix(err, want) {
		t.Errorf("%s is not at the end of: %s", want, err)
	}
	if !strings.Contains(err, `CODE="***": must be a whole number`) || strings.Contains(err, "gr33n") || strings.Contains(err, "s3cr") {
		t.Error(err)
	}
}

func TestASecretMayStandInAFile(t *testing.T) {
	t.Parallel()
	file := func(content string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, content := range []string{"s3cret", "s3cret\n", "s3cret\r\n"} {
		if s, err := read(map[string]string{"TOKEN_FILE": file(content)}); err != nil || s.Token != "s3cret" {
			t.Errorf("%q: %q, %v", content, s.Token, err)
		}
	}
	if s, err := read(map[string]string{"ADDRESS_FILE": file("http://u:s3cret@h\n\n")}); err != nil || s.Address != "http://u:s3cret@h" {
		t.Errorf("%q, %v", s.Address, err)
	}
	for name, variables := range map[string]map[string]string{
		"two line ends":       {"TOKEN_FILE": file("s3cret\n\n")},
		"a space":             {"TOKEN_FILE": file("s3cret \n")},
		"a byte-order mark":   {"TOKEN_FILE": file("\ufeffs3cret\n")},
		"nothing in it":       {"TOKEN_FILE": file("\n")},
		"too long":            {"TOKEN_FILE": file(strings.Repeat("s3cret", 20_000))},
		"no such file":        {"TOKEN_FILE": filepath.Join(t.TempDir(), "none")},
		"a directory":         {"TOKEN_FILE": t.TempDir()},
		"both":                {"TOKEN_FILE": file("s3cret"), "TOKEN": "s3cret"},
		"an address and both": {"ADDRESS_FILE": file("http://a:s3cret@h"), "ADDRESS": "http://b:s3cret@h"},
	} {
		_, err := read(variables)
		if text := fmt.Sprint(err); err == nil || !strings.Contains(text, `_FILE="`) || strings.Contains(text, "s3cret") || strings.Count(text, "must be") != 1 {
			t.Errorf("%s: %s", name, text)
		}
	}
	// What is no secret has no business in a file.
	if s, err := read(map[string]string{"NAME_FILE": file("anna")}); err != nil || s.Name != "" {
		t.Errorf("%q, %v", s.Name, err)
	}
}

func TestSettingsAreShownWithoutSecrets(t *testing.T) {
	t.Parallel()
	s, err := read(map[string]string{"TOKEN": "s3cret", "ADDRESS": "https://u:s3cret@h/?token=s3cret", "PORT": "1"})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("starting", "config", s)
	text := log.String() + fmt.Sprint(env.Changed(s))
	if strings.Contains(text, "s3cret") || !strings.Contains(text, "config.token=***") || !strings.Contains(text, "https://u:***@h/?token=***") || strings.Contains(text, "config.name") {
		t.Error(text)
	}
	if changed := env.Changed(s); len(changed) != 3 || changed["PORT"] != "1" {
		t.Error(changed)
	}
}

func TestTheTableHasEveryVariable(t *testing.T) {
	t.Parallel()
	table := env.Table(&settings{})
	for _, want := range []string{"| `PORT` | `8000` | a port |\n", "| `WAIT` | `10s` | how long \\| how short |\n", "| `NAME` |  | a name |\n", "`TOKEN_FILE`, `ADDRESS_FILE`"} {
		if !strings.Contains(table, want) {
			t.Errorf("%s is not in\n%s", want, table)
		}
	}
	if strings.Count(table, "\n") != 14 || strings.Contains(table, "Computed") {
		t.Error(table)
	}
}

// What is no number is neither too small nor too large, unless somebody asks.
func TestBetween(t *testing.T) {
	t.Parallel()
	for value, ok := range map[float64]bool{.9: false, 1: true, 2: true, 2.1: false, math.NaN(): false, math.Inf(1): false, math.Inf(-1): false} {
		p := env.Read(lookup(nil), &struct{}{})
		env.Between(p, "FACTOR", value, 1, 2)
		if (p.Err() == nil) != ok {
			t.Errorf("%v: %v", value, p.Err())
		}
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for host, ok := range map[string]bool{"": true, "localhost": true, "127.0.0.1": true, "::1": true, "localhost:9100": false, "http://x": false, "a b": false} {
		p := env.Read(lookup(nil), &struct{}{})
		env.Host(p, "HOST", host)
		if (p.Err() == nil) != ok {
			t.Errorf("%q: %v", host, p.Err())
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]env.Size{"1024": 1024, "1KiB": 1024, "2 MiB": 2 << 20, " 1GiB ": 1 << 30, "7B": 7, "5GiB": 5 << 30} {
		var got env.Size
		if err := got.Decode(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "1TB", "2 MiB extra", "99999999999GiB", "1.5MiB", "MiB"} {
		if err := new(env.Size).Decode(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	for size, want := range map[env.Size]string{2 << 20: "2MiB", 1500: "1500", 1024: "1KiB", 0: "0", -1: "-1"} {
		if size.String() != want {
			t.Errorf("%d is written %s", int64(size), size)
		}
	}
}

// Settings that several programs share are embedded: read, checked, shown and documented in their place.
func TestEmbeddedSettings(t *testing.T) {
	t.Parallel()
	type Shared struct {
		Token string `envconfig:"TOKEN" secret:"true" desc:"shared"`
		Retry int    `envconfig:"RETRY" default:"3" desc:"shared too"`
	}
	type settings struct {
		First string `envconfig:"FIRST" default:"1" desc:"before"`
		Shared
		Last string `envconfig:"LAST" desc:"behind"`
	}
	var s settings
	given := map[string]string{"TOKEN": "s3cret", "LAST": "z"}
	if err := env.Read(func(name string) (string, bool) { v, ok := given[name]; return v, ok }, &s).Err(); err != nil || s.Token != "s3cret" || s.Retry != 3 || s.First != "1" || s.Last != "z" {
		t.Errorf("%v: %+v", err, s)
	}
	if shown := env.Masked(&s).String(); shown != "[first=1 token=*** retry=3 last=z]" {
		t.Errorf("shown as %s", shown)
	}
	if changed := fmt.Sprint(env.Changed(&s)); changed != "map[LAST:z TOKEN:***]" {
		t.Errorf("changed: %s", changed)
	}
	given["RETRY"] = "x"
	p := env.Read(func(name string) (string, bool) { v, ok := given[name]; return v, ok }, &s)
	if err := p.Err(); err == nil || !strings.Contains(err.Error(), `RETRY="x": must be a whole number`) {
		t.Error(err)
	}
	if table := env.Table(&s); !strings.Contains(table, "| before |\n| `TOKEN` |  | shared |\n| `RETRY` | `3` | shared too |\n| `LAST`") {
		t.Error(table)
	}
}
