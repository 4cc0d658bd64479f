package httpapi

import (
	"bytes"
	"encoding/hex"

	"github.com/valyala/fasthttp"
)

// decodedPath reads the percent escapes of paths before anything else looks at them: to RFC 3986, /orders/%31 is /orders/1.
// An escaped slash stays escaped, because it is part of a segment and separates none; so does what is no escape.
func decodedPath(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if path := ctx.URI().PathOriginal(); bytes.IndexByte(path, '%') >= 0 {
			ctx.URI().SetPathBytes(unescape(path))
		}
		next(ctx)
	}
}

func unescape(path []byte) []byte {
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		var char [1]byte
		if path[i] == '%' && i+2 < len(path) {
			if _, err := hex.Decode(char[:], path[i+1:i+3]); err == nil && char[0] != '/' {
				out = append(out, char[0])
				i += 2
				continue
			}
		}
		out = append(out, path[i])
	}
	return out
}
