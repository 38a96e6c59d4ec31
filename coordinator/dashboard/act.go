package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/layshaft/layshaft/internal/page"
	"github.com/layshaft/layshaft/internal/plain"
	"github.com/layshaft/layshaft/internal/wire"
)

// A person acts in two steps. GET /act/NAME?id=ID asks, with the name of the thing and the
// consequences, and POST /act/NAME acts. Both work without a script; act.js shows the question in a
// dialog. An action becomes one call of a service with the caller of the request, so permissions
// and the audit log are the same as over gRPC.
//
// Pages of other sites cannot act. The origin of a POST must be this server, and its Host must be
// an IP address or a name of this server: else the owner of another name could point it here.

const (
	// maxForm is the limit of a form, in bytes.
	maxForm = 16 << 10
	// maxID is the limit of the name of a thing, in bytes. Escaped, a byte takes four.
	maxID = 4 << 10
)

// question is the content of the page with the question.
type question struct {
	deed
	Action, ID string
	Error      string // why it was not done; empty at first
}

// mayAct reports whether the pages for a request have buttons.
func (d *Dashboard) mayAct(r *http.Request) bool {
	return !d.cfg.ReadOnly && d.cfg.Server.Permits(d.cfg.Caller(r), jobMethods+"Cancel") && d.isOwnHost(r)
}

// isOwnHost reports whether a request names this server by an IP address or by one of its names.
// A name without a dot is nobody's on the internet. With TLS, the browser has checked the name.
func (d *Dashboard) isOwnHost(r *http.Request) bool {
	host := page.HostOf(r)
	if r.TLS != nil || page.IsAddress(host) || !strings.Contains(strings.TrimSuffix(host, "."), ".") {
		return true
	}
	own, _ := os.Hostname()
	for _, name := range append([]string{own}, d.cfg.Hosts...) {
		if strings.EqualFold(host, name) {
			return true
		}
	}
	return false
}

// actionPages serves the pages of actions.
func (d *Dashboard) actionPages(mux *http.ServeMux) {
	mux.HandleFunc("GET /act/{action}", func(w http.ResponseWriter, r *http.Request) {
		name, id := r.PathValue("action"), r.FormValue("id")
		a, ok := actions[name]
		if !ok || len(id) > maxID {
			d.show(w, r, "/404", func() view { return missing("There is no such action.") })
			return
		}
		d.answer(w, r, d.question(a, name, id))
	})
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.refuse(w, r, http.StatusForbidden, "the page of another site may not do this")
	}))
	mux.Handle("POST /act/{action}", protection.Handler(http.HandlerFunc(d.act)))
}

// question returns the page with the question, or the reason why the action does not fit.
func (d *Dashboard) question(a action, name, id string) view {
	x, err := a.describe(d, id)
	var gone missingThing
	switch {
	case errors.As(err, &gone):
		return missing(gone.Error())
	case err != nil:
		v := missing("Nothing to do: " + err.Error() + ".")
		v.title, v.status = "Nothing to do", http.StatusConflict
		return v
	}
	return view{page: "act", title: x.Title, content: &question{deed: x, Action: name, ID: id}}
}

// act acts, and leads back to the page of the thing.
func (d *Dashboard) act(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	name, id := r.PathValue("action"), r.PostFormValue("id")
	a, ok := actions[name]
	switch {
	case !ok || len(id) > maxID:
		d.refuse(w, r, http.StatusNotFound, "there is no such action")
		return
	case id == "":
		d.refuse(w, r, http.StatusBadRequest, "the form names nothing; it needs a field id, as in: curl -d id=ID URL")
		return
	case d.cfg.ReadOnly:
		d.refuse(w, r, http.StatusForbidden, "this coordinator runs with -http-read-only; use the command")
		return
	case !d.isOwnHost(r):
		d.refuse(w, r, http.StatusForbidden, fmt.Sprintf("host %q is no name of this coordinator, so the request may be made by another site: use its IP address, or set -advertise", page.HostOf(r)))
		return
	}
	ctx := d.cfg.Caller(r)
	if err := d.cfg.Server.Authorize(ctx, a.method); err != nil {
		d.refuse(w, r, http.StatusForbidden, status.Convert(wire.ToStatus(err)).Message())
		return
	}
	x, err := a.describe(d, id)
	if err == nil {
		err = a.do(ctx, d, id)
	}
	var gone missingThing
	switch {
	case errors.As(err, &gone) || status.Code(wire.ToStatus(err)) == codes.NotFound:
		d.refuse(w, r, http.StatusNotFound, err.Error())
	case errors.Is(err, context.Canceled):
		// The caller has gone.
	case err != nil:
		d.refuse(w, r, http.StatusConflict, status.Convert(wire.ToStatus(err)).Message())
	case page.WantsHTML(r):
		d.forget()
		http.Redirect(w, r, x.Back, http.StatusSeeOther)
	default:
		d.forget()
		_, _ = fmt.Fprintln(w, plain.Text(x.Done))
	}
}

// refuse answers with the reason why nothing was done.
func (d *Dashboard) refuse(w http.ResponseWriter, r *http.Request, code int, why string) {
	if !page.WantsHTML(r) {
		http.Error(w, plain.Text(why), code)
		return
	}
	v := missing("Not done: " + why + ".")
	v.title, v.status = "Not done", code
	d.answer(w, r, v)
}

// forget drops the kept pages, so that the next look shows a change.
func (d *Dashboard) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.made)
}
