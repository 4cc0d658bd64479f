package orders

import "unicode"

// visible tells whether a person would see anything of a text: a character that is neither white space nor a control, nor
// one that has no shape of its own. Those are of several kinds to Unicode: format characters (zero-width spaces, joiners,
// direction marks, tags), what is ignorable by default (Hangul fillers, which are letters), variation selectors, combining
// marks with nothing to combine with, and the Braille pattern without a dot, which is a symbol. A character that is younger
// than this program's tables is taken to be seen: next year's emoji are names, too.
func visible(text string) bool {
	for _, r := range text {
		if !unicode.IsSpace(r) && r != '\u2800' && !unicode.In(r,
			unicode.Cc, unicode.Cf, unicode.Z, unicode.M, unicode.Other_Default_Ignorable_Code_Point) {
			return true
		}
	}
	return false
}
