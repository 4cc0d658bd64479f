package env

import "orderflow.example/kit/secret"

// FileSuffix makes of a secret's name that of the variable which names a file with the secret in it: WEBHOOK_SECRET_FILE.
const FileSuffix = "_FILE"

// findSecret applies the rule that holds for every secret ([secret.Read]): one that breaks it stops the start. An address has no use
// for white space at its ends: there it is dropped.
func (p *Problems) findSecret(lookup Lookup, name, text, kind string) (found string, ok bool) {
	file, _ := lookup(name + FileSuffix)
	source := name
	switch {
	case file != "" && text != "":
		p.add(name+FileSuffix, file, "empty when "+name+" is set: which of the two is it?", "")
		p.wrong[name] = true
		return "", false
	case file != "":
		source, p.files[name] = name+FileSuffix, file
		var err error
		if text, err = secret.Content(file); err != nil {
			p.add(source, file, "the path of a file that holds "+name, err.Error())
			p.wrong[name] = true
			return "", false
		}
	}
	if kind == "url" {
		return secret.Trim(text), true
	}
	if secret.Trim(text) == text {
		return text, true
	}
	if source == name {
		p.add(source, mask, "without white space or invisible characters at either end (a newline? echo leaves one, printf does not)", "")
	} else {
		p.add(source, file, "a file whose content has no white space or invisible characters at either end", "")
	}
	p.wrong[name] = true
	return "", false
}
