package config

import (
	"strings"

	"orderflow.example/kit/env"
	"orderflow.example/services/consumer/internal/webhook"
)

// checkWebhook reads what the webhook's settings hold. What is wrong with a secret is said without it.
func (c *Config) checkWebhook(p *env.Problems) {
	var err error
	if c.Keys, err = webhook.ParseKeys(c.WebhookSecrets); err != nil {
		p.Add("WEBHOOK_SECRETS", "whsec_ or whsk_ keys, separated by commas or white space: "+err.Error())
	}
	if c.Headers, err = webhook.ParseHeaders(c.WebhookHeaders); err != nil {
		p.Add("WEBHOOK_HEADERS", "lines of the form Name: value, but "+err.Error())
	}
	if c.Handler != "webhook" {
		return
	}
	if err := webhook.CheckURL(c.WebhookURL); err != nil {
		p.Add("WEBHOOK_URL", err.Error()+" when HANDLER=webhook")
		return
	}
	c.checkFiles(p, strings.HasPrefix(strings.ToLower(c.WebhookURL), "https:"))
	c.Files = webhook.Files{
		CA: c.WebhookCAFile, Cert: c.WebhookCertFile, Key: c.WebhookKeyFile,
		URL: p.File("WEBHOOK_URL"), Keys: p.File("WEBHOOK_SECRETS"), Headers: p.File("WEBHOOK_HEADERS"),
	}
}

func (c *Config) checkFiles(p *env.Problems, encrypted bool) {
	for _, file := range [...]struct{ name, path string }{
		{"WEBHOOK_CA_FILE", c.WebhookCAFile}, {"WEBHOOK_CERT_FILE", c.WebhookCertFile}, {"WEBHOOK_KEY_FILE", c.WebhookKeyFile},
	} {
		if file.path != "" && !encrypted {
			p.Add(file.name, "empty when WEBHOOK_URL is not https://")
		}
	}
	if c.WebhookCAFile != "" {
		if _, err := webhook.LoadCA(c.WebhookCAFile); err != nil {
			p.Add("WEBHOOK_CA_FILE", "the path of a file of certificates in PEM: "+err.Error())
		}
	}
	switch {
	case c.WebhookCertFile == "" && c.WebhookKeyFile == "":
	case c.WebhookCertFile == "":
		p.Add("WEBHOOK_CERT_FILE", "the path of the certificate of WEBHOOK_KEY_FILE")
	case c.WebhookKeyFile == "":
		p.Add("WEBHOOK_KEY_FILE", "the path of the key of WEBHOOK_CERT_FILE")
	default:
		if _, err := webhook.LoadCert(c.WebhookCertFile, c.WebhookKeyFile); err != nil {
			p.Add("WEBHOOK_CERT_FILE", "the path of a certificate in PEM, with its key in WEBHOOK_KEY_FILE: "+err.Error())
		}
	}
}
