package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"

	"github.com/gofiber/fiber/v2"
)

//go:embed templates static
var files embed.FS

// pages are the templates, each by the name of its file.
var pages = template.Must(template.New("").Funcs(functions).ParseFS(files, "templates/*.html"))

// assets are the files of static/, by name, each with a sum of what is in it.
var assets = func() map[string]asset {
	found := map[string]asset{}
	err := fs.WalkDir(files, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		sum := sha256.Sum256(content)
		found[path.Base(name)] = asset{content, mime.TypeByExtension(path.Ext(name)), base64.RawURLEncoding.EncodeToString(sum[:9])}
		return err
	})
	if err != nil {
		panic(err) // embedded at build time
	}
	return found
}()

type asset struct {
	content   []byte
	mediaType string
	sum       string
}

// assetPath is where an asset is, below the root: with its sum, so that it may be kept for ever.
func assetPath(name string) (string, error) {
	a, ok := assets[name]
	if !ok {
		return "", fmt.Errorf("there is no static/%s", name)
	}
	return "ui/static/" + name + "?v=" + a.sum, nil
}

// static serves the assets, which hold nothing: they need no token.
func (d *Dashboard) static(c *fiber.Ctx) error {
	a, ok := assets[c.Params("name")]
	if !ok {
		return fiber.ErrNotFound
	}
	guard(c)
	keep := "no-cache"
	if c.Query("v") == a.sum {
		keep = "public, max-age=31536000, immutable"
	}
	c.Set(fiber.HeaderCacheControl, keep)
	c.Set(fiber.HeaderETag, `"`+a.sum+`"`)
	if c.Get(fiber.HeaderIfNoneMatch) == `"`+a.sum+`"` {
		return c.SendStatus(http.StatusNotModified)
	}
	c.Response().Header.SetContentType(a.mediaType)
	c.Response().SetBodyRaw(a.content)
	return nil
}

// guard sets what keeps a browser from doing with an answer what it is not meant for.
func guard(c *fiber.Ctx) {
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"font-src 'self'; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderReferrerPolicy, "same-origin") // with no-referrer, browsers would not say whose forms they send
	c.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// render answers with a page. It is rendered to its end first, so that a template that fails is no half page.
func render(c *fiber.Ctx, status int, name string, model any) error {
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, model); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	guard(c)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Status(status)
	c.Response().Header.SetContentType(fiber.MIMETextHTMLCharsetUTF8)
	c.Response().SetBodyRaw(b.Bytes())
	return nil
}
