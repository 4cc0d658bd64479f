package env

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
)

// FileSuffix makes of a secret's name that of the variable which names a file with the secret in it: WEBHOOK_SECRET_FILE.
const FileSuffix = "_FILE"

// maxSecret is how long a secret may be, in bytes. A file that is longer is the wrong file.
const maxSecret = 64 << 10

// findSecret applies the rule that holds for every secret: it has no white space at either end, nor anything else that cannot be seen.
// `echo secret | base64` leaves a newline there, an editor a byte-order mark, and each makes another secret of it: that stops the start. The line end of a file's last line
// is the file's and not the secret's. An address has no use for white space at its ends: there it is dropped.
func (p *Problems) findSecret(lookup Lookup, name, text, kind string) (secret string, ok bool) {
	file, _ := lookup(name + FileSuffix)
	source := name
	switch {
	case file != "" && text != "":
		p.add(name+FileSuffix, file, "empty when "+name+" is set: which of the two is it?", "")
		p.wrong[name] = true
		return "", false
	case file != "":
		source = name + FileSuffix
		var err error
		if text, err = readSecret(file); err != nil {
			p.add(source, file, "the path of a file that holds "+name, err.Error())
			p.wrong[name] = true
			return "", false
		}
	}
	trimmed := strings.TrimFunc(text, unseen)
	if kind == "url" || trimmed == text {
		return trimmed, true
	}
	if source == name {
		p.add(source, mask, "without white space or invisible characters at either end (a newline? echo leaves one, printf does not)", "")
	} else {
		p.add(source, file, "a file whose content has no white space or invisible characters at either end", "")
	}
	p.wrong[name] = true
	return "", false
}

func unseen(r rune) bool {
	return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Z, unicode.Other_Default_Ignorable_Code_Point)
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return "", shorter(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	switch {
	case err != nil:
		return "", shorter(err)
	case len(content) > maxSecret:
		return "", fmt.Errorf("longer than %d bytes", maxSecret)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	if text == "" {
		return "", errors.New("the file is empty")
	}
	return text, nil
}

// shorter is an error of the file system without the path, which is named beside it.
func shorter(err error) error {
	if path := (*os.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	return err
}
