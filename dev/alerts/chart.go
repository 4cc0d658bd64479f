package alerts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"orderflow.example/dev/internal/stack"
)

// The release that is rendered.
const (
	release   = "shop"
	namespace = "orders"
)

// Chart is what a release of the chart gives to Prometheus and Grafana.
type Chart struct {
	Rules     []byte        // groups, as in a file of rules
	Names     []string      // of the alerts
	Links     []string      // their runbook_url
	Severity  []string      // theirs
	Dashboard Dashboard     // as Grafana reads it
	Interval  time.Duration // of scrapes
	API       string        // names of the pods, as a Deployment makes them
	Consumer  string
}

// Dashboard is a part of Grafana's JSON.
type Dashboard struct {
	Panels []Panel `json:"panels"`
	Vars   struct {
		List []struct {
			Name  string          `json:"name"`
			Query json.RawMessage `json:"query"` // a string, or an object with one
			Regex string          `json:"regex"`
		} `json:"list"`
	} `json:"templating"`
}

// Panel is one of its diagrams.
type Panel struct {
	Title  string `json:"title"`
	Config struct {
		Defaults struct {
			Unit string `json:"unit"`
		} `json:"defaults"`
		Overrides []Override `json:"overrides"`
	} `json:"fieldConfig"`
	Targets []struct {
		RefID  string `json:"refId"`
		Expr   string `json:"expr"`
		Legend string `json:"legendFormat"`
	} `json:"targets"`
}

// Override is what holds for some of a panel's series only.
type Override struct {
	Matcher struct {
		ID      string `json:"id"`
		Options string `json:"options"`
	} `json:"matcher"`
	Properties []struct {
		ID    string `json:"id"`
		Value string `json:"value"`
	} `json:"properties"`
}

// Render renders the chart that CHART names, or the working copy's, with the values that its unit tests have for it and further ones as
// `helm --set` takes them.
func Render(ctx context.Context, values ...string) (*Chart, error) {
	root, err := stack.Root()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, "deploy/helm/orderflow")
	if given := os.Getenv("CHART"); given != "" {
		dir = given
	}
	args := []string{"template", release, dir, "--namespace", namespace, "--values", filepath.Join(dir, "ci/observability-values.yaml")}
	for _, v := range values {
		args = append(args, "--set", v)
	}
	helm := exec.CommandContext(ctx, filepath.Join(root, "bin/helm"), args...) //nolint:gosec // our own program
	var problem bytes.Buffer
	helm.Stderr = &problem
	out, err := helm.Output()
	if err != nil {
		return nil, fmt.Errorf("render the chart (make bin/helm): %w\n%s", err, &problem)
	}
	c := &Chart{}
	for documents := yaml.NewDecoder(bytes.NewReader(out)); ; {
		var o object
		if err := documents.Decode(&o); errors.Is(err, io.EOF) {
			return c, nil
		} else if err != nil {
			return nil, fmt.Errorf("read what helm has rendered: %w", err)
		}
		if err := c.take(&o); err != nil {
			return nil, fmt.Errorf("%s %s: %w", o.Kind, o.Metadata.Name, err)
		}
	}
}

// object is the part of a Kubernetes object that matters here.
type object struct {
	Kind     string
	Metadata struct {
		Name, Namespace string
	}
	Data map[string]string
	Spec struct {
		Endpoints []struct{ Interval string }
		Groups    yaml.Node
	}
}

func (c *Chart) take(o *object) error {
	switch {
	case o.Kind == "PrometheusRule":
		return c.takeRules(&o.Spec.Groups)
	case o.Kind == "ServiceMonitor":
		interval, err := time.ParseDuration(o.Spec.Endpoints[0].Interval)
		c.Interval = interval
		return err
	case o.Kind == "Deployment" && strings.HasSuffix(o.Metadata.Name, "-api"):
		c.API = o.Metadata.Name + "-5d8f9c6b7d-x2v4k"
	case o.Kind == "Deployment" && strings.HasSuffix(o.Metadata.Name, "-consumer"):
		c.Consumer = o.Metadata.Name + "-7c9d8f5b6c-q8z2"
	case o.Kind == "ConfigMap" && strings.HasSuffix(o.Metadata.Name, "-dashboard"):
		for _, text := range o.Data {
			return json.Unmarshal([]byte(text), &c.Dashboard)
		}
	}
	return nil
}

func (c *Chart) takeRules(groups *yaml.Node) (err error) {
	var read []struct {
		Rules []struct {
			Alert               string
			Labels, Annotations map[string]string
		}
	}
	if err := groups.Decode(&read); err != nil {
		return err
	}
	for _, g := range read {
		for _, r := range g.Rules {
			c.Names = append(c.Names, r.Alert)
			c.Links = append(c.Links, r.Annotations["runbook_url"])
			c.Severity = append(c.Severity, r.Labels["severity"])
		}
	}
	c.Rules, err = yaml.Marshal(map[string]any{"groups": groups})
	return err
}
