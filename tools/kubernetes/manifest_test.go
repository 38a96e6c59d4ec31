// Package kubernetes holds deploy/kubernetes.yaml against the types of the Kubernetes API. It is a module of its own, so that nobody who uses
// layshaft downloads them.
package kubernetes

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

const path = "../../deploy/kubernetes.yaml"

// read decodes the manifest. A field that the API does not know, or that is given twice, or a value of another type is an error.
func read(t *testing.T, text string) (sets []*appsv1.StatefulSet, services []*corev1.Service, err error) {
	t.Helper()
	for _, doc := range strings.Split(text, "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &kind); err != nil {
			return nil, nil, err
		}
		switch kind.APIVersion + " " + kind.Kind {
		case "apps/v1 StatefulSet":
			s := &appsv1.StatefulSet{}
			if err := strict(doc, s); err != nil {
				return nil, nil, err
			}
			sets = append(sets, s)
		case "v1 Service":
			s := &corev1.Service{}
			if err := strict(doc, s); err != nil {
				return nil, nil, err
			}
			services = append(services, s)
		default:
			t.Fatalf("%s %s is not known here", kind.APIVersion, kind.Kind)
		}
	}
	return sets, services, nil
}

// strict decodes as the API server does when it is asked to be strict: names are those of the API in every letter.
func strict(doc string, to any) error {
	b, err := yaml.YAMLToJSONStrict([]byte(doc))
	if err != nil {
		return err
	}
	unknown, err := json.UnmarshalStrict(b, to)
	return errors.Join(append(unknown, err)...)
}

// TestManifest decodes the manifest, and checks what the API server and the kubelet would mind beyond types.
func TestManifest(t *testing.T) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sets, services, err := read(t, string(b))
	if err != nil {
		t.Fatal(err)
	}
	if len(sets) != 2 || len(services) != 2 {
		t.Fatalf("%d stateful sets and %d services, want 2 and 2", len(sets), len(services))
	}
	for _, s := range sets {
		pod := s.Spec.Template
		if s.Spec.Selector == nil || len(s.Spec.Selector.MatchLabels) == 0 {
			t.Fatalf("%s has no selector", s.Name)
		}
		for k, v := range s.Spec.Selector.MatchLabels {
			if pod.Labels[k] != v {
				t.Errorf("%s selects %s=%s, and its pods have %q", s.Name, k, v, pod.Labels[k])
			}
		}
		i := slices.IndexFunc(services, func(x *corev1.Service) bool { return x.Name == s.Spec.ServiceName })
		if i < 0 {
			t.Fatalf("%s: there is no service %q", s.Name, s.Spec.ServiceName)
		}
		for k, v := range services[i].Spec.Selector {
			if pod.Labels[k] != v {
				t.Errorf("service %s selects %s=%s, and the pods have %q", services[i].Name, k, v, pod.Labels[k])
			}
		}
		volumes := map[string]bool{}
		for _, v := range pod.Spec.Volumes {
			volumes[v.Name] = true
			if v.VolumeSource == (corev1.VolumeSource{}) {
				t.Errorf("%s: volume %s has no source", s.Name, v.Name)
			}
		}
		for _, v := range s.Spec.VolumeClaimTemplates {
			volumes[v.Name] = true
			if v.Spec.Resources.Requests.Storage().IsZero() || len(v.Spec.AccessModes) == 0 {
				t.Errorf("%s: claim %s asks for nothing", s.Name, v.Name)
			}
		}
		if c := pod.Spec.SecurityContext; c == nil || c.RunAsNonRoot == nil || !*c.RunAsNonRoot || c.RunAsUser == nil || *c.RunAsUser == 0 {
			t.Errorf("%s runs as root", s.Name)
		}
		for _, c := range pod.Spec.Containers {
			mounts := map[string]bool{}
			for _, m := range c.VolumeMounts {
				mounts[m.MountPath] = true
				if !volumes[m.Name] {
					t.Errorf("%s mounts %q, which is no volume", s.Name, m.Name)
				}
			}
			if c.LivenessProbe == nil || c.ReadinessProbe == nil {
				t.Errorf("%s has no probes", s.Name)
			}
			if c.Image == "" || len(c.Args) == 0 {
				t.Errorf("%s runs nothing", s.Name)
			}
			for _, e := range c.Env {
				if (e.Value == "") == (e.ValueFrom == nil) {
					t.Errorf("%s: variable %s wants one value", s.Name, e.Name)
				}
				if dir, _, found := strings.Cut(strings.TrimPrefix(e.Value, "/"), "/"); strings.HasPrefix(e.Value, "/") && !mounts[e.Value] && !(found && mounts["/"+dir]) {
					t.Errorf("%s: %s=%s is on no volume", s.Name, e.Name, e.Value)
				}
			}
			for _, a := range c.Args {
				if _, dir, found := strings.Cut(a, "=/"); found && !mounts["/"+dir] {
					t.Errorf("%s: %s is on no volume", s.Name, a)
				}
			}
		}
	}
	worker := sets[slices.IndexFunc(sets, func(s *appsv1.StatefulSet) bool { return strings.HasSuffix(s.Name, "worker") })]
	if g := worker.Spec.Template.Spec.TerminationGracePeriodSeconds; g == nil || *g <= 300 {
		t.Errorf("workers are killed before they have drained, which takes 5m at the most")
	}
}

// TestMistakes breaks the manifest: the test above would notice.
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
	} {
		if !strings.Contains(string(b), from) {
			t.Fatalf("the manifest has no %s", from)
		}
		if _, _, err := read(t, strings.Replace(string(b), from, to, 1)); err == nil {
			t.Errorf("%s instead of %s is not noticed", to, from)
		}
	}
}
