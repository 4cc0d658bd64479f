// Package secret owns how a secret comes out of a file, and what none may have: white space at an end, or anything else there that
// cannot be seen. `echo secret | base64` leaves a newline, an editor a byte-order mark, and each makes another secret of it.
package secret

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
)

// most is how long a secret may be, in bytes. A file that is longer is the wrong file.
const most = 64 << 10

// Read reads a secret from a file. The line end of the file's last line is the file's and not the secret's. An error says what is
// wrong, without the path and without the content.
func Read(path string) (string, error) {
	text, err := Content(path)
	if err == nil && Trim(text) != text {
		return "", errors.New("it has white space or invisible characters at an end")
	}
	return text, err
}

// Trim is a text without what cannot be seen at its ends. A secret is as it is trimmed.
func Trim(text string) string { return strings.TrimFunc(text, unseen) }

// List are the secrets of a text that holds several: separated by commas or white space, so that a file can have one on each line.
func List(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

func unseen(r rune) bool {
	return unicode.IsSpace(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Z, unicode.Other_Default_Ignorable_Code_Point)
}

// Content is what a file with a secret holds, whatever is at its ends.
func Content(path string) (string, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names it
	if err != nil {
		return "", shorter(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return "", shorter(err)
	case len(content) > most:
		return "", fmt.Errorf("longer than %d bytes", most)
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
