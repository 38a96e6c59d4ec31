// Draws the attempts of a job, one row for each slot of each worker. Many attempts become density:
// darker means busier. The numbers come from runpage.WriteTimeline, in ticks of 0.1 ms.
'use strict';
(() => {
  const root = document.querySelector('.timeline');
  if (!root) return;
  const TICK = 0.1;
  const MAX_HEIGHT = 460;
  const MAX_EXACT = 20000;
  const COLORS = 8;
  const FIELDS = ['w', 's', 'i', 'n', 'a', 'd', 'e', 'r', 'b'];

  let head = null; // names of stages and workers
  let rows = {}; // the ended attempts, columns with absolute starts
  let live = {}; // the running ones
  let total = 0;
  let order = []; // rows by start
  let lanes = null;
  let view = null; // [from, to] in ticks; null means all

  const make = (tag, attributes, ...children) => {
    const e = document.createElement(tag);
    for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
    e.append(...children);
    return e;
  };
  const clear = (c) => FIELDS.forEach((f) => { c[f] = []; });
  clear(rows);
  clear(live);

  function append(to, from) {
    let at = 0;
    for (let k = 0; k < from.w.length; k++) {
      at += from.a[k];
      for (const f of FIELDS) to[f].push(f === 'a' ? at : from[f][k]);
    }
  }

  const fill = (c) => { FIELDS.forEach((f) => { c[f] = c[f] || []; }); return c; };

  function take(data) {
    if (data.from !== total || data.total < total) {
      clear(rows);
      total = 0;
      if (data.from !== 0) return false;
    }
    head = data;
    append(rows, fill(data));
    total = data.total;
    clear(live);
    append(live, fill(data.running || {}));
    arrange();
    return true;
  }

  // all[k] is the k-th attempt, ended or running.
  const size = () => rows.w.length + live.w.length;
  const get = (f, k) => (k < rows.w.length ? rows[f][k] : live[f][k - rows.w.length]);

  // arrange gives each attempt a lane of its worker such that none overlap.
  function arrange() {
    const n = size();
    order = new Uint32Array(n);
    const start = new Float64Array(n);
    for (let k = 0; k < n; k++) {
      order[k] = k;
      start[k] = get('a', k);
    }
    order.sort((x, y) => start[x] - start[y] || x - y);
    const ends = head.workers.map(() => []);
    const lane = new Uint32Array(n);
    for (const k of order) {
      const e = ends[get('w', k)];
      const a = get('a', k);
      let l = e.findIndex((t) => t <= a);
      if (l < 0) l = e.push(0) - 1;
      e[l] = a + Math.max(get('d', k), 1);
      lane[k] = l;
    }
    const first = [];
    let count = 0;
    for (const e of ends) {
      first.push(count);
      count += Math.max(e.length, 1);
    }
    const row = new Uint32Array(n);
    for (let k = 0; k < n; k++) row[k] = first[get('w', k)] + lane[k];
    lanes = {row, first, count, longest: longest(n)};
  }

  function longest(n) {
    let most = 0;
    for (let k = 0; k < n; k++) most = Math.max(most, get('d', k));
    return most;
  }

  const text = make('p', {class: 'soft', role: 'status'});
  const canvas = make('canvas', {tabindex: '0', role: 'img'});
  const tip = make('div', {class: 'tip', hidden: ''});
  const buttons = make('div', {class: 'zoom', role: 'group', 'aria-label': 'Zoom of the time line'});
  const button = (label, name, act) => {
    const b = make('button', {type: 'button', 'aria-label': name, title: name}, label);
    b.addEventListener('click', () => { act(); draw(); });
    buttons.append(b);
  };
  button('−', 'Zoom out', () => zoom(2));
  button('+', 'Zoom in', () => zoom(0.5));
  button('←', 'Earlier', () => move(-0.25));
  button('→', 'Later', () => move(0.25));
  button('all', 'Show all', () => { view = null; });
  const legend = make('p', {class: 'legend'});
  const stage = make('div', {class: 'stageline'}, canvas, tip);

  const full = () => [0, Math.max(head.now, 1)];
  const range = () => view || full();

  function clamp(from, to) {
    const [a, b] = full();
    const width = Math.min(Math.max(to - from, 10), b - a);
    const left = Math.min(Math.max(from, a), b - width);
    view = width >= b - a ? null : [left, left + width];
  }

  function zoom(factor, at) {
    const [a, b] = range();
    const middle = at === undefined ? (a + b) / 2 : at;
    clamp(middle - (middle - a) * factor, middle + (b - middle) * factor);
  }

  function move(share) {
    const [a, b] = range();
    clamp(a + share * (b - a), b + share * (b - a));
  }

  function duration(ticks) {
    const ms = ticks * TICK;
    if (ms < 1) return Math.round(ms * 1000) + ' µs';
    if (ms < 1000) return (ms < 10 ? ms.toFixed(1) : Math.round(ms)) + ' ms';
    const s = ms / 1000;
    if (s < 60) return s.toFixed(s < 10 ? 1 : 0) + ' s';
    if (s < 3600) return Math.floor(s / 60) + ' min ' + String(Math.round(s % 60)).padStart(2, '0') + ' s';
    return Math.floor(s / 3600) + ' h ' + String(Math.round(s % 3600 / 60)).padStart(2, '0') + ' min';
  }

  function bytes(n) {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
    let u = 0;
    for (; n >= 1024 && u < units.length - 1; u++) n /= 1024;
    return (u === 0 ? n : n.toFixed(1)) + ' ' + units[u];
  }

  const num = (n) => n.toLocaleString('en');

  // steps returns a round distance between the marks of the axis.
  function step(span, marks) {
    const rough = span / marks;
    const seconds = 1 / TICK * 1000;
    const nice = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].map((x) => x / TICK)
      .concat([10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400].map((x) => x * seconds));
    return nice.find((x) => x >= rough) || rough;
  }

  let shape = null; // of the last picture, for the pointer

  function draw() {
    if (!head || !lanes) return;
    const style = getComputedStyle(document.documentElement);
    const color = (name) => style.getPropertyValue(name).trim();
    const palette = Array.from({length: COLORS}, (_, i) => color('--s' + i));
    const ink = color('--ink');
    const soft = color('--soft');
    const edge = color('--edge');
    const failed = color('--failed');
    const width = Math.max(stage.clientWidth, 200);
    const names = width > 620 ? 150 : 0;
    const plot = width - names - 8;
    const axis = 22;
    const space = MAX_HEIGHT - axis;
    const fits = lanes.count * 4 <= space;
    const laneHeight = fits ? Math.min(Math.floor(space / lanes.count), 16) : space / lanes.count;
    const height = Math.ceil(lanes.count * laneHeight) + axis;
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== width * ratio || canvas.height !== height * ratio) {
      canvas.width = width * ratio;
      canvas.height = height * ratio;
      canvas.style.width = width + 'px';
      canvas.style.height = height + 'px';
    }
    const g = canvas.getContext('2d');
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    g.clearRect(0, 0, width, height);
    g.font = '12px system-ui, sans-serif';
    const [from, to] = range();
    const scale = plot / (to - from);
    const x = (t) => names + (t - from) * scale;

    const mark = step(to - from, Math.max(plot / 110, 2));
    g.textBaseline = 'top';
    for (let t = Math.ceil(from / mark) * mark; t <= to; t += mark) {
      g.fillStyle = edge;
      g.fillRect(Math.round(x(t)), 0, 1, height - axis);
      g.fillStyle = soft;
      const label = t === 0 ? '0' : duration(t);
      g.textAlign = t === from ? 'left' : 'center';
      if (x(t) < width - 20) g.fillText(label, x(t), height - axis + 6);
    }

    // the attempts in view: none that began more than the longest one before it
    let low = 0;
    let high = order.length;
    const earliest = from - lanes.longest;
    while (low < high) {
      const m = (low + high) >> 1;
      if (get('a', order[m]) < earliest) low = m + 1;
      else high = m;
    }
    const visible = [];
    for (let q = low; q < order.length; q++) {
      const k = order[q];
      const a = get('a', k);
      if (a > to) break;
      if (a + get('d', k) >= from) visible.push(k);
    }
    const density = !fits || visible.length > MAX_EXACT;
    if (density) {
      drawDensity(g, visible, {plot, names, from, scale, space: height - axis, palette, failed});
    } else {
      for (const k of visible) {
        const e = get('e', k) & 15;
        const a = Math.max(get('a', k), from);
        const b = Math.min(get('a', k) + get('d', k), to);
        const w = Math.max((b - a) * scale, 1);
        const bad = k < rows.w.length && e > 0;
        g.fillStyle = bad ? failed : palette[get('s', k) % COLORS];
        g.globalAlpha = k >= rows.w.length ? 0.55 : (e === 4 || e === 5 ? 0.5 : 1);
        const y = lanes.row[k] * laneHeight;
        g.fillRect(x(a), y + 1, w > 3 ? w - 1 : w, Math.max(laneHeight - 2, 1));
      }
      g.globalAlpha = 1;
    }
    if (names) {
      g.textAlign = 'left';
      g.textBaseline = 'middle';
      let free = -1;
      head.workers.forEach((name, w) => {
        const top = lanes.first[w] * laneHeight;
        const end = (w + 1 < lanes.first.length ? lanes.first[w + 1] : lanes.count) * laneHeight;
        if (fits || end - top > 2) {
          g.fillStyle = edge;
          g.fillRect(0, Math.round(end), width, 1);
        }
        const middle = (top + end) / 2;
        if (middle - 7 < free) return;
        free = middle + 7;
        g.fillStyle = soft;
        let shown = name;
        while (shown.length > 3 && g.measureText(shown).width > names - 10) shown = shown.slice(0, -2);
        g.fillText(shown === name ? name : shown + '…', 0, middle);
      });
    }
    shape = {names, plot, from, to, laneHeight, visible, density, height: height - axis};
    const what = num(visible.length) + ' of ' + num(size()) + (size() === 1 ? ' attempt' : ' attempts');
    text.textContent = (density ? what + ', drawn as density: darker means busier. Zoom in to see each.' : what + ' in view.')
      + (view ? ' From ' + duration(from) + ' to ' + duration(to) + '.' : '');
    canvas.setAttribute('aria-label', 'Time line of ' + what + ' on ' + head.workers.length + (head.workers.length === 1 ? ' worker' : ' workers') + '. Keys: plus, minus, arrows, 0.');
    const used = new Set();
    for (let k = 0; k < size(); k++) used.add(get('s', k));
    legend.replaceChildren(...[...used].sort((p, q) => p - q).map((s) => make('span', {class: 's' + (s % COLORS)}, s + ' ' + (head.stages[s] || ''))),
      make('span', {class: 'failed'}, 'no output'));
    void ink;
  }

  function drawDensity(g, visible, o) {
    const bands = Math.min(lanes.count, Math.floor(o.space / 3));
    const per = lanes.count / bands;
    const columns = Math.floor(o.plot);
    const busy = new Float32Array(bands * columns);
    const bad = new Float32Array(bands * columns);
    const stageOf = new Uint16Array(bands * columns);
    for (const k of visible) {
      const band = Math.min(Math.floor(lanes.row[k] / per), bands - 1);
      const a = (get('a', k) - o.from) * o.scale;
      const b = a + Math.max(get('d', k) * o.scale, 0.05);
      const fails = k < rows.w.length && (get('e', k) & 15) > 0;
      const s = get('s', k);
      for (let c = Math.max(Math.floor(a), 0); c <= Math.min(Math.floor(b), columns - 1); c++) {
        const share = Math.min(b, c + 1) - Math.max(a, c);
        const at = band * columns + c;
        busy[at] += share;
        if (fails) bad[at] += share;
        stageOf[at] = s;
      }
    }
    const h = o.space / bands;
    for (let band = 0; band < bands; band++) {
      for (let c = 0; c < columns; c++) {
        const at = band * columns + c;
        if (busy[at] === 0) continue;
        g.globalAlpha = Math.min(0.12 + 0.88 * busy[at] / per, 1);
        g.fillStyle = bad[at] * 4 > busy[at] ? o.failed : o.palette[stageOf[at] % COLORS];
        g.fillRect(o.names + c, band * h, 1, Math.max(h - 0.5, 0.5));
      }
    }
    g.globalAlpha = 1;
  }

  function find(px, py) {
    if (!shape || py >= shape.height || px < shape.names) return -1;
    const t = shape.from + (px - shape.names) / shape.plot * (shape.to - shape.from);
    const near = 3 / shape.plot * (shape.to - shape.from);
    const row = Math.floor(py / shape.laneHeight);
    let best = -1;
    for (const k of shape.visible) {
      if (lanes.row[k] !== row) continue;
      const a = get('a', k);
      if (a - near <= t && a + get('d', k) + near >= t) best = k;
    }
    return best;
  }

  function show(px, py) {
    if (!shape) return;
    const k = shape.density ? -1 : find(px, py);
    if (k < 0) {
      tip.hidden = true;
      return;
    }
    const e = get('e', k);
    const lines = [
      get('s', k) + '/' + get('i', k) + '#' + get('n', k) + (e & 16 ? ', speculative' : ''),
      head.stages[get('s', k)] || '',
      'on ' + head.workers[get('w', k)],
      (k >= rows.w.length ? 'running for ' : head.ends[e & 15] + ' after ') + duration(get('d', k)) + ', began at ' + duration(get('a', k)),
    ];
    if (get('r', k) > 0) lines.push('read ' + num(get('r', k)) + (get('r', k) === 1 ? ' record, ' : ' records, ') + bytes(get('b', k)));
    tip.replaceChildren(...lines.map((l, i) => make(i ? 'span' : 'strong', {}, l)));
    tip.hidden = false;
    const left = Math.min(px + 14, stage.clientWidth - tip.offsetWidth - 4);
    tip.style.left = Math.max(left, 0) + 'px';
    tip.style.top = (py + 16) + 'px';
  }

  const position = (ev) => {
    const r = canvas.getBoundingClientRect();
    return [ev.clientX - r.left, ev.clientY - r.top];
  };
  const timeAt = (px) => shape.from + (px - shape.names) / shape.plot * (shape.to - shape.from);
  let pressed = null;
  canvas.addEventListener('pointerdown', (ev) => { pressed = position(ev)[0]; });
  canvas.addEventListener('pointermove', (ev) => {
    const [px, py] = position(ev);
    if (pressed !== null && ev.buttons === 0) pressed = null;
    if (pressed !== null && Math.abs(px - pressed) > 4 && shape) {
      tip.hidden = true;
      draw();
      const g = canvas.getContext('2d');
      g.globalAlpha = 0.18;
      g.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--running');
      g.fillRect(Math.min(px, pressed), 0, Math.abs(px - pressed), shape.height);
      g.globalAlpha = 1;
      return;
    }
    show(px, py);
  });
  canvas.addEventListener('pointerup', (ev) => {
    const px = position(ev)[0];
    if (pressed !== null && shape && Math.abs(px - pressed) > 4) clamp(timeAt(Math.min(px, pressed)), timeAt(Math.max(px, pressed)));
    pressed = null;
    draw();
  });
  canvas.addEventListener('pointerleave', () => { tip.hidden = true; });
  canvas.addEventListener('dblclick', () => { view = null; draw(); });
  canvas.addEventListener('wheel', (ev) => {
    if (!ev.ctrlKey && !ev.metaKey) return; // the page scrolls
    ev.preventDefault();
    zoom(ev.deltaY > 0 ? 1.25 : 0.8, timeAt(position(ev)[0]));
    draw();
  }, {passive: false});
  canvas.addEventListener('keydown', (ev) => {
    const act = {'+': () => zoom(0.5), '-': () => zoom(2), ArrowLeft: () => move(-0.25), ArrowRight: () => move(0.25), 0: () => { view = null; }}[ev.key];
    if (!act) return;
    ev.preventDefault();
    act();
    draw();
  });
  new ResizeObserver(() => draw()).observe(root);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);

  function start() {
    root.replaceChildren(make('div', {class: 'bar-row'}, text, buttons), stage, legend);
    draw();
    root.dataset.drawn = size();
  }

  async function unpack(base64) {
    const packed = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('gzip'));
    return JSON.parse(await new Response(stream).text());
  }

  async function look() {
    try {
      const answer = await fetch(root.dataset.src + '?from=' + total, {cache: 'no-store', signal: AbortSignal.timeout(20000)});
      if (!answer.ok) return false;
      const known = head !== null;
      const data = await answer.json();
      const before = total;
      if (!take(data)) return true;
      if (!known) start();
      else if (data.total !== before || (data.running && data.running.w)) draw();
      root.dataset.drawn = size();
      return Boolean(data.running && data.running.w);
    } catch {
      return true;
    }
  }

  async function follow() {
    const more = document.hidden || await look();
    setTimeout(follow, more ? 2000 : 10000);
  }

  if (root.dataset.gz) {
    unpack(root.dataset.gz).then((data) => { if (take(data)) start(); });
    for (const t of document.querySelectorAll('time[datetime]')) t.textContent = new Date(t.dateTime).toLocaleString();
  } else if (root.dataset.src) {
    follow();
  }
})();
