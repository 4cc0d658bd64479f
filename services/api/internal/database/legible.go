package database

// ShownAs makes the SQL of a text that is shown of the SQL of a text that anybody may have written.
type ShownAs func(text string) string

// AsItIs is how a text is shown where that can be.
func AsItIs(text string) string { return text }

// inASCII has question marks for all else.
func inASCII(text string) string { return `regexp_replace(` + text + `, '[^\u0001-\u007f]', '?', 'g')` }

// Legibly reads texts as they are or, where the database's encoding has some that UTF-8 has not, such as the five bytes that WIN1252 leaves
// undefined, all of them in ASCII: the server refuses the whole answer for one such character, and names no row.
func Legibly(read func(as ShownAs) error) error {
	err := read(AsItIs)
	if Untranslatable(err) {
		if again := read(inASCII); again == nil {
			return nil
		} // otherwise it is the question that cannot be translated
	}
	return err
}
