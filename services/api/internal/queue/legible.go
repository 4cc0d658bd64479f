package queue

import "orderflow.example/services/api/internal/database"

// shownAs makes the SQL of a text that is shown of the SQL of a text that anybody may have written.
type shownAs func(text string) string

func asItIs(text string) string { return text }

// inASCII has question marks for all else.
func inASCII(text string) string { return `regexp_replace(` + text + `, '[^\u0001-\u007f]', '?', 'g')` }

// legibly reads texts as they are or, where the database's encoding has some that UTF-8 has not, such as the five bytes that WIN1252 leaves
// undefined, all of them in ASCII: the server refuses the whole answer for one such character, and names no row.
func legibly(read func(as shownAs) error) error {
	err := read(asItIs)
	if database.Untranslatable(err) {
		if again := read(inASCII); again == nil {
			return nil
		} // otherwise it is the question that cannot be translated
	}
	return err
}
