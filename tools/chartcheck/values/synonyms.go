package values

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Instead is JSON: for each name by which other charts know one of our values, the name that it has here. The schema lets
// these names pass, so that a template can refuse them with the right one.
func (v *Value) Instead() ([]byte, error) {
	instead := map[string]string{}
	if err := v.collectSynonyms(instead); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(instead, "", "  ")
	return append(text, '\n'), err
}

func (v *Value) collectSynonyms(into map[string]string) error {
	for _, synonym := range v.Synonyms {
		if other, twice := into[synonym]; twice {
			return fmt.Errorf("%s is a synonym of both %s and %s", synonym, other, v.Path)
		}
		into[synonym] = v.Path
	}
	for _, child := range v.Children {
		if err := child.collectSynonyms(into); err != nil {
			return err
		}
	}
	return nil
}

// admit puts the synonyms into a schema, without a condition.
func admit(schema map[string]any, instead map[string]string) error {
	for synonym, path := range instead {
		at := schema
		keys := strings.Split(synonym, ".")
		for _, key := range keys[:len(keys)-1] {
			next, isGroup := at["properties"].(map[string]any)[key].(map[string]any)
			if !isGroup || next["properties"] == nil {
				return fmt.Errorf("%s: the synonym %s is in no group", path, synonym)
			}
			at = next
		}
		properties, last := at["properties"].(map[string]any), keys[len(keys)-1]
		if _, exists := properties[last]; exists {
			return fmt.Errorf("%s: the synonym %s is a value itself", path, synonym)
		}
		properties[last] = map[string]any{"description": "Refused: use " + path + "."}
	}
	return nil
}
