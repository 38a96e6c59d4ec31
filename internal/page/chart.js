// Shows the numbers of a chart at the pointer.
'use strict';
(() => {
  const tip = document.createElement('div');
  tip.className = 'tip fixed';
  tip.hidden = true;
  document.body.append(tip);

  const digits = (v) => (v < 10 && v % 1 ? v.toFixed(1) : Math.round(v).toLocaleString('en'));
  const forms = {
    rate: (v) => digits(v) + '/s',
    count: (v) => Math.round(v).toLocaleString('en'),
    seconds: (v) => (v < 0.001 ? (v * 1e6).toFixed(0) + ' µs' : v < 1 ? (v * 1e3).toFixed(0) + ' ms' : digits(v) + ' s'),
  };

  document.addEventListener('pointermove', (e) => {
    const box = e.target.closest && e.target.closest('.chart svg');
    if (!box) {
      tip.hidden = true;
      return;
    }
    const data = JSON.parse(box.dataset.chart);
    const place = box.getBoundingClientRect();
    const n = data.lines[0].length;
    const i = Math.max(0, Math.min(n - 1, Math.round((e.clientX - place.left) / place.width * (n - 1))));
    const rows = [new Date(data.from + i * data.step).toLocaleTimeString()];
    data.lines.forEach((line, k) => {
      if (line[i] !== null) rows.push((data.names[k] ? data.names[k] + ' ' : '') + forms[data.form](line[i]));
    });
    tip.replaceChildren(...rows.map((text) => {
      const row = document.createElement('span');
      row.textContent = text;
      return row;
    }));
    tip.hidden = false;
    const right = Math.min(e.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
    tip.style.left = right + 'px';
    tip.style.top = place.top + place.height + 6 + 'px';
  });
})();
