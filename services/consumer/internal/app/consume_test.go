package app

import (
	"cmp"
	"fmt"
	"reflect"
	"testing"

	"orderflow.example/kit/tracing"
	"orderflow.example/services/consumer/internal/config"
)

// Each setting of the pipeline's is one that an operator makes, and no two are the same one.
func TestThePipelineHasEachSettingOnce(t *testing.T) {
	t.Parallel()
	var s config.Config
	all := reflect.ValueOf(&s).Elem()
	for i := range all.NumField() {
		switch field := all.Field(i); {
		case field.CanInt():
			field.SetInt(int64(i) + 1)
		case field.CanFloat():
			field.SetFloat(float64(i) + 1)
		case field.Kind() == reflect.String:
			field.SetString(all.Type().Field(i).Name)
		}
	}
	from := map[string]string{} // a value, and what has it
	eachSetting("Settings", reflect.ValueOf(workerSettings(&s, new(tracing.Tracer))), func(name string, v reflect.Value) {
		value := fmt.Sprint(v)
		if v.CanInt() { // a time as a number
			value = fmt.Sprint(v.Int())
		}
		if v.IsZero() || from[value] != "" {
			t.Errorf("%s is not set by itself: it is %s, as %s", name, value, cmp.Or(from[value], "nothing is"))
		}
		from[value] = name
	})
	if len(from) < 20 {
		t.Errorf("only %d settings were looked at: %v", len(from), from)
	}
}

// eachSetting visits what is in a structure, and in those in it.
func eachSetting(name string, v reflect.Value, visit func(string, reflect.Value)) {
	if v.Kind() != reflect.Struct {
		visit(name, v)
		return
	}
	for i := range v.NumField() {
		eachSetting(name+"."+v.Type().Field(i).Name, v.Field(i), visit)
	}
}
