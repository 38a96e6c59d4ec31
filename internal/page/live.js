// Keeps a page live: asks for it again and replaces what changed, and nothing else.
'use strict';
(() => {
  const pause = 2000;
  const longest = 15000;
  let wait = pause;
  let asking = false;

  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.id === b.id;

  function morph(from, to) {
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
      return;
    }
    for (const a of [...from.attributes]) {
      if (a.name !== 'open' && !to.hasAttribute(a.name)) from.removeAttribute(a.name);
    }
    for (const a of to.attributes) {
      if (a.name !== 'open' && from.getAttribute(a.name) !== a.value) from.setAttribute(a.name, a.value);
    }
    if (from.hasAttribute('data-keep')) return; // another script draws it
    const old = [...from.childNodes];
    const now = [...to.childNodes];
    now.forEach((n, i) => {
      if (i >= old.length) from.append(document.importNode(n, true));
      else if (alike(old[i], n)) morph(old[i], n);
      else old[i].replaceWith(document.importNode(n, true));
    });
    old.slice(now.length).forEach((n) => n.remove());
  }

  // localise writes times in the zone of the reader; the exact one is in the title.
  function localise(part) {
    for (const t of part.querySelectorAll('time[datetime]')) {
      const at = new Date(t.dateTime);
      const today = at.toDateString() === new Date().toDateString();
      t.textContent = today ? at.toLocaleTimeString() : at.toLocaleString();
      t.title = t.dateTime;
    }
  }

  function say(text, stale) {
    const live = document.getElementById('live');
    live.textContent = text;
    document.body.classList.toggle('stale', stale);
  }

  async function look() {
    if (document.hidden || asking) return;
    asking = true;
    try {
      const answer = await fetch(location.href, {headers: {Accept: 'text/html'}, cache: 'no-store', signal: AbortSignal.timeout(10000)});
      const text = await answer.text();
      const next = new DOMParser().parseFromString(text, 'text/html');
      const main = next.querySelector('main');
      if (!main) throw new Error(answer.statusText);
      localise(next);
      morph(document.querySelector('main'), main);
      morph(document.querySelector('footer time'), next.querySelector('footer time'));
      say('live, as of', false);
      wait = pause;
    } catch {
      say('no answer; this is old, as of', true);
      wait = Math.min(2 * wait, longest);
    } finally {
      asking = false;
    }
  }

  const again = () => setTimeout(async () => { await look(); again(); }, wait);
  document.addEventListener('visibilitychange', look);
  document.addEventListener('look', look); // another script has changed something
  localise(document);
  say('live, as of', false);
  again();
})();
