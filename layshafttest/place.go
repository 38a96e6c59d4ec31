package layshafttest

// Place is an end of a link: the coordinator, a worker, or the clients of the test.
type Place interface{ place() string }

type clientPlace struct{}

func (clientPlace) place() string { return "client" }

// Client is the place of the clients of Target.
func (c *Cluster) Client() Place { return clientPlace{} }

// link is one direction between two places.
type link struct {
	from, to string
	gossip   bool // for gossip alone
}

// Cut stops all data between two places, in both directions. Connections hang: data arrives when
// the link heals, if the receiver still waits.
func (c *Cluster) Cut(a, b Place) {
	c.setCut(true, link{from: a.place(), to: b.place()}, link{from: b.place(), to: a.place()})
}

// CutOneWay stops all data from one place to another; the other direction works.
func (c *Cluster) CutOneWay(from, to Place) { c.setCut(true, link{from: from.place(), to: to.place()}) }

// CutGossip cuts the gossip of a place; its connections work.
func (c *Cluster) CutGossip(p Place) { c.setCut(true, c.gossipLinks(p)...) }

func (c *Cluster) gossipLinks(p Place) []link {
	var links []link
	for _, other := range c.all() {
		links = append(links, link{p.place(), other, true}, link{other, p.place(), true})
	}
	return links
}

// Heal ends all cuts, or with two places the cuts between them.
func (c *Cluster) Heal(between ...Place) {
	if len(between) == 2 {
		a, b := between[0].place(), between[1].place()
		c.setCut(false, link{from: a, to: b}, link{from: b, to: a}, link{a, b, true}, link{b, a, true})
		return
	}
	c.mu.Lock()
	clear(c.cuts)
	c.mu.Unlock()
	c.apply()
}

// isolate cuts a place off from all others, or ends this.
func (c *Cluster) isolate(p Place, cut bool) {
	var links []link
	for _, other := range c.all() {
		links = append(links, link{from: p.place(), to: other}, link{from: other, to: p.place()})
	}
	c.setCut(cut, links...)
}

// all returns all places.
func (c *Cluster) all() []string {
	all := []string{clientPlace{}.place()}
	for _, x := range c.coords {
		all = append(all, x.place())
	}
	for _, w := range c.workers {
		all = append(all, w.place())
	}
	return all
}

func (c *Cluster) setCut(cut bool, links ...link) {
	c.mu.Lock()
	for _, l := range links {
		if cut && l.from != l.to {
			c.cuts[l] = true
		} else {
			delete(c.cuts, l)
		}
	}
	c.mu.Unlock()
	c.apply()
}

// apply passes the cuts to the networks.
func (c *Cluster) apply() {
	c.net.Cut(func(from, to string) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.cuts[link{from: from, to: to}]
	})
	c.gossip.Cut(func(from, to string) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		from, to = c.places[from], c.places[to]
		return c.cuts[link{from: from, to: to}] || c.cuts[link{from, to, true}]
	})
}
