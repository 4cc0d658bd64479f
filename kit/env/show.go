package env

import (
	"fmt"
	"log/slog"
	"reflect"
	"strings"
)

// Masked are the settings of the struct that target points to as they may be shown, by variable: the secret ones masked, those that
// are empty left out. It is what [slog] prints of a struct whose LogValue returns it.
func Masked(target any) slog.Value {
	var attrs []slog.Attr
	for field, value := range fields(target) {
		if text := shown(field, value); text != "" {
			attrs = append(attrs, slog.String(strings.ToLower(field.Tag.Get("envconfig")), text))
		}
	}
	return slog.GroupValue(attrs...)
}

// Changed are those of the settings that differ from their defaults, masked, by variable.
func Changed(target any) map[string]string {
	byDefault := reflect.New(reflect.TypeOf(target).Elem())
	Default(byDefault.Interface())
	changed := make(map[string]string)
	defaults := make(map[string]string)
	for field, value := range fields(byDefault.Interface()) {
		defaults[field.Name] = fmt.Sprint(value.Interface())
	}
	for field, value := range fields(target) {
		if fmt.Sprint(value.Interface()) != defaults[field.Name] {
			changed[field.Tag.Get("envconfig")] = shown(field, value)
		}
	}
	return changed
}

func shown(field reflect.StructField, value reflect.Value) string {
	text := fmt.Sprint(value.Interface())
	switch secret := field.Tag.Get("secret"); {
	case secret == "url":
		return MaskURL(text)
	case secret != "" && text != "":
		return mask
	}
	return text
}
