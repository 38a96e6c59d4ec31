// Package kubernetes compares deploy/kubernetes with the types of the Kubernetes API: the manifest
// as it is, and what kustomize renders. It is a module of its own, so that nobody who uses layshaft
// downloads them.
package kubernetes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

const (
	folder = "../../deploy/kubernetes"
	path   = folder + "/base/layshaft.yaml"
)

// workload is what a StatefulSet and a Deployment have in common.
type workload struct {
	name     string
	set      *appsv1.StatefulSet // nil for a Deployment
	selector *metav1.LabelSelector
	pod      corev1.PodTemplateSpec
	claims   []corev1.PersistentVolumeClaim
}

// manifest is the decoded documents.
type manifest struct {
	workloads []workload
	services  []*corev1.Service
	budgets   []*policyv1.PodDisruptionBudget
	scalers   []*autoscalingv2.HorizontalPodAutoscaler
}

// read decodes a manifest. A field that the API does not have or that is given twice, and a value of
// another type, are errors.
func read(text string) (m manifest, err error) {
	for _, doc := range strings.Split(text, "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			return m, err
		}
		switch kind.APIVersion + " " + kind.Kind {
		case "apps/v1 StatefulSet":
			s := &appsv1.StatefulSet{}
			err = strict(doc, s)
			m.workloads = append(m.workloads, workload{s.Name, s, s.Spec.Selector, s.Spec.Template, s.Spec.VolumeClaimTemplates})
		case "apps/v1 Deployment":
			d := &appsv1.Deployment{}
			err = strict(doc, d)
			m.workloads = append(m.workloads, workload{d.Name, nil, d.Spec.Selector, d.Spec.Template, nil})
		case "v1 Service":
			s := &corev1.Service{}
			err = strict(doc, s)
			m.services = append(m.services, s)
		case "policy/v1 PodDisruptionBudget":
			b := &policyv1.PodDisruptionBudget{}
			err = strict(doc, b)
			m.budgets = append(m.budgets, b)
		case "autoscaling/v2 HorizontalPodAutoscaler":
			h := &autoscalingv2.HorizontalPodAutoscaler{}
			err = strict(doc, h)
			m.scalers = append(m.scalers, h)
		default:
			err = fmt.Errorf("%s %s is not known here", kind.APIVersion, kind.Kind)
		}
		if err != nil {
			return m, err
		}
	}
	return m, nil
}

// strict decodes as the API server does when it is asked to be strict: names belong to the API
// in every letter.
func strict(doc string, to any) error {
	b, err := yaml.YAMLToJSONStrict([]byte(doc))
	if err != nil {
		return err
	}
	unknown, err := json.UnmarshalStrict(b, to)
	return errors.Join(append(unknown, err)...)
}

// render returns what "kubectl kustomize DIR" prints.
func render(t *testing.T, dir string) string {
	t.Helper()
	out, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(folder, dir))
	if err != nil {
		t.Fatalf("kustomize %s: %v", dir, err)
	}
	b, err := out.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func load(t *testing.T, text string) manifest {
	t.Helper()
	m, err := read(text)
	if err != nil {
		t.Fatal(err)
	}
	m.check(t)
	return m
}

// TestManifest decodes the manifest, and checks what the API server and the kubelet would refuse
// beyond types.
func TestManifest(t *testing.T) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if m := load(t, string(b)); len(m.workloads) != 2 || len(m.services) != 2 || len(m.budgets) != 1 {
		t.Errorf("%d workloads, %d services, %d budgets; want 2, 2 and 1", len(m.workloads), len(m.services), len(m.budgets))
	}
}

// TestBase renders the base, and changes nothing but the image.
func TestBase(t *testing.T) {
	m := load(t, render(t, "base"))
	if len(m.workloads) != 2 || *m.find(t, "layshaft-coordinator").set.Spec.Replicas != 1 {
		t.Errorf("%+v", m.workloads)
	}
}

// TestProduction renders three coordinators and an autoscaler.
func TestProduction(t *testing.T) {
	m := load(t, render(t, "production"))
	c := m.find(t, "layshaft-coordinator")
	env := map[string]corev1.EnvVar{}
	for _, e := range c.pod.Spec.Containers[0].Env {
		if _, twice := env[e.Name]; twice {
			t.Errorf("variable %s is set twice", e.Name)
		}
		env[e.Name] = e
	}
	var peers []string
	for i := range *c.set.Spec.Replicas {
		peers = append(peers, fmt.Sprintf("%s-%d.%s:7070", c.name, i, c.set.Spec.ServiceName))
	}
	if got := env["LAYSHAFT_PEERS"].Value; len(peers) != 3 || got != strings.Join(peers, ",") {
		t.Errorf("peers %s of %d replicas, want %q", got, len(peers), peers)
	}
	// A coordinator finds itself among its peers by the name that it advertises.
	own := strings.ReplaceAll(env["LAYSHAFT_ADVERTISE"].Value, "$(POD_NAME)", c.name+"-0") + ":7070"
	if own != peers[0] || env["POD_NAME"].ValueFrom == nil || env["POD_NAME"].ValueFrom.FieldRef.FieldPath != "metadata.name" {
		t.Errorf("a coordinator advertises %s, and its peers know it as %s", own, peers[0])
	}
	order := slices.IndexFunc(c.pod.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "POD_NAME" })
	if uses := slices.IndexFunc(c.pod.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "LAYSHAFT_ADVERTISE" }); order > uses {
		t.Error("POD_NAME is set behind the variable that uses it, so Kubernetes would not expand it")
	}
	if c.set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement {
		t.Error("coordinators start one after another, and the first one waits for all")
	}
	service := m.services[slices.IndexFunc(m.services, func(s *corev1.Service) bool { return s.Name == c.set.Spec.ServiceName })]
	if !service.Spec.PublishNotReadyAddresses || service.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Error("coordinators cannot find each other before they are ready")
	}
	if p := c.pod.Spec.Containers[0].ReadinessProbe.HTTPGet; p.Path != "/readyz" || c.pod.Spec.Affinity == nil {
		t.Errorf("readiness %+v, affinity %+v", p, c.pod.Spec.Affinity)
	}
	if len(m.budgets) != 3 || len(m.scalers) != 1 {
		t.Fatalf("%d budgets and %d autoscalers, want 3 and 1", len(m.budgets), len(m.scalers))
	}

	h := m.scalers[0].Spec
	target := m.find(t, h.ScaleTargetRef.Name)
	if h.ScaleTargetRef.Kind != "Deployment" || target.set != nil || len(target.claims) != 0 {
		t.Errorf("the autoscaler would scale %+v, whose volumes stay behind", h.ScaleTargetRef)
	}
	metric := h.Metrics[0].External
	slots := ""
	for _, a := range target.pod.Spec.Containers[0].Args {
		if strings.HasPrefix(a, "-slots=") {
			slots = strings.TrimPrefix(a, "-slots=")
		}
		if strings.HasPrefix(a, "-dataset") {
			t.Errorf("a worker that comes and goes offers %s", a)
		}
	}
	if metric == nil || metric.Target.AverageValue.String() != slots {
		t.Errorf("the autoscaler divides by %+v, and a worker has %s slots", metric, slots)
	}
	if *h.MinReplicas < 1 || h.MaxReplicas <= *h.MinReplicas || h.Behavior.ScaleDown.StabilizationWindowSeconds == nil {
		t.Errorf("bounds %d to %d, behavior %+v", *h.MinReplicas, h.MaxReplicas, h.Behavior)
	}
	if names := adapterMetrics(t); !slices.Contains(names, metric.Metric.Name) {
		t.Errorf("the adapter serves %q, and the autoscaler asks for %s", names, metric.Metric.Name)
	}
	for _, w := range m.workloads {
		for _, c := range w.pod.Spec.Containers {
			if c.Image != "layshaft:latest" {
				t.Errorf("%s has image %s, want the one of base/kustomization.yaml", w.name, c.Image)
			}
		}
	}
}

// adapterMetrics returns the metrics that the configuration of the adapter defines.
func adapterMetrics(t *testing.T) (names []string) {
	t.Helper()
	b, err := os.ReadFile(folder + "/burst/adapter.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// As in prometheus-adapter, pkg/config: fields of other names are refused.
	var c struct {
		ExternalRules []struct {
			SeriesQuery string `json:"seriesQuery"`
			Resources   struct {
				Namespaced *bool `json:"namespaced"`
			} `json:"resources"`
			Name struct {
				Matches, As string
			} `json:"name"`
			MetricsQuery string `json:"metricsQuery"`
		} `json:"externalRules"`
	}
	if err := yaml.UnmarshalStrict(b, &c); err != nil {
		t.Fatal(err)
	}
	for _, r := range c.ExternalRules {
		if r.SeriesQuery == "" || r.MetricsQuery == "" || r.Name.As == "" {
			t.Errorf("rule %+v lacks a part", r)
		}
		names = append(names, r.Name.As)
	}
	return names
}

func (m *manifest) find(t *testing.T, name string) *workload {
	t.Helper()
	i := slices.IndexFunc(m.workloads, func(w workload) bool { return w.name == name })
	if i < 0 {
		t.Fatalf("there is no %s", name)
	}
	return &m.workloads[i]
}

// check compares the objects with each other.
func (m *manifest) check(t *testing.T) {
	t.Helper()
	for i := range m.workloads {
		m.checkWorkload(t, &m.workloads[i])
	}
	for _, b := range m.budgets {
		w := m.find(t, b.Name)
		if b.Spec.MaxUnavailable == nil || b.Spec.MaxUnavailable.IntValue() != 1 {
			t.Errorf("budget %s: %+v, want one at a time", b.Name, b.Spec)
		}
		for k, v := range b.Spec.Selector.MatchLabels {
			if w.pod.Labels[k] != v {
				t.Errorf("budget %s selects %s=%s, and the pods have %q", b.Name, k, v, w.pod.Labels[k])
			}
		}
	}
}

func (m *manifest) checkWorkload(t *testing.T, w *workload) {
	t.Helper()
	pod := w.pod
	if w.selector == nil || len(w.selector.MatchLabels) == 0 {
		t.Fatalf("%s has no selector", w.name)
	}
	for k, v := range w.selector.MatchLabels {
		if pod.Labels[k] != v {
			t.Errorf("%s selects %s=%s, and its pods have %q", w.name, k, v, pod.Labels[k])
		}
	}
	if w.set != nil {
		i := slices.IndexFunc(m.services, func(x *corev1.Service) bool { return x.Name == w.set.Spec.ServiceName })
		if i < 0 {
			t.Fatalf("%s: there is no service %q", w.name, w.set.Spec.ServiceName)
		}
		for k, v := range m.services[i].Spec.Selector {
			if pod.Labels[k] != v {
				t.Errorf("service %s selects %s=%s, and the pods have %q", m.services[i].Name, k, v, pod.Labels[k])
			}
		}
	}
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
		if v.VolumeSource == (corev1.VolumeSource{}) {
			t.Errorf("%s: volume %s has no source", w.name, v.Name)
		}
	}
	for _, v := range w.claims {
		volumes[v.Name] = true
		if v.Spec.Resources.Requests.Storage().IsZero() || len(v.Spec.AccessModes) == 0 {
			t.Errorf("%s: claim %s asks for nothing", w.name, v.Name)
		}
	}
	if c := pod.Spec.SecurityContext; c == nil || c.RunAsNonRoot == nil || !*c.RunAsNonRoot || c.RunAsUser == nil || *c.RunAsUser == 0 {
		t.Errorf("%s runs as root", w.name)
	}
	for _, c := range pod.Spec.Containers {
		checkContainer(t, w.name, &c, volumes)
	}
	if g := pod.Spec.TerminationGracePeriodSeconds; pod.Spec.Containers[0].Name == "worker" && (g == nil || *g <= 300) {
		t.Errorf("%s: workers are killed before they have drained, which takes 5m at the most", w.name)
	}
}

func checkContainer(t *testing.T, name string, c *corev1.Container, volumes map[string]bool) {
	t.Helper()
	mounts := map[string]bool{}
	for _, m := range c.VolumeMounts {
		mounts[m.MountPath] = true
		if !volumes[m.Name] {
			t.Errorf("%s mounts %q, which is no volume", name, m.Name)
		}
	}
	if c.LivenessProbe == nil || c.ReadinessProbe == nil {
		t.Errorf("%s has no probes", name)
	}
	if c.Image == "" || len(c.Args) == 0 {
		t.Errorf("%s runs nothing", name)
	}
	for _, e := range c.Env {
		if (e.Value == "") == (e.ValueFrom == nil) {
			t.Errorf("%s: variable %s wants one value", name, e.Name)
		}
		if dir, _, found := strings.Cut(strings.TrimPrefix(e.Value, "/"), "/"); strings.HasPrefix(e.Value, "/") && !mounts[e.Value] && !(found && mounts["/"+dir]) {
			t.Errorf("%s: %s=%s is on no volume", name, e.Name, e.Value)
		}
	}
	for _, a := range c.Args {
		if _, dir, found := strings.Cut(a, "=/"); found && !mounts["/"+dir] {
			t.Errorf("%s: %s is on no volume", name, a)
		}
	}
}

// TestMistakes breaks the manifest: the tests above would notice.
func TestMistakes(t *testing.T) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"serviceName:":      "servicename:",
		"periodSeconds: 10": "periodSeconds: often",
		"mountPath:":        "mountpath:",
		"storage: 10Gi":     "storage: 10Gigs",
		"clusterIP: None":   "clusterIP: None\n  clusterIP: None",
		"maxUnavailable: 1": "maxUnavailabel: 1",
	} {
		if !strings.Contains(string(b), from) {
			t.Fatalf("the manifest has no %s", from)
		}
		if _, err := read(strings.Replace(string(b), from, to, 1)); err == nil {
			t.Errorf("%s instead of %s is not noticed", to, from)
		}
	}
}
