package dashboard

import "html/template"

// functions are what the templates call.
var functions = template.FuncMap{
	// asset is where a file of static/ is, below the root.
	"asset": assetPath,
}
