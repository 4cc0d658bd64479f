// The dashboard's script. The page is whole without it; with it the overview moves. The api renders what moves once a second for all
// viewers together and streams it as HTML, which is worked into the page node by node: focus, selection and open tables stay.
'use strict';

(() => {
  const root = document.documentElement;
  const pulse = document.getElementById('pulse');
  const told = document.getElementById('told');

  // Working new HTML into the page. A node with an id or a data-key is the same as the one that had it before.

  const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || '' : '');
  const same = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

  function morph(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== 'open') old.removeAttribute(name); // what the reader has opened stays open
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    const keyed = new Map();
    for (const child of old.childNodes) if (keyOf(child)) keyed.set(keyOf(child), child);
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      const key = keyOf(child);
      const known = key ? keyed.get(key) : at;
      if (!known || !same(known, child)) {
        old.insertBefore(child, at);
        continue;
      }
      if (known === at) at = at.nextSibling;
      else old.insertBefore(known, at);
      morph(known, child);
      keyed.delete(key);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  const parser = new DOMParser();

  function show(html) {
    for (const part of parser.parseFromString(html, 'text/html').body.children) {
      const old = document.getElementById(part.id);
      if (old) morph(old, part);
    }
    follow();
  }

  // The forms of pause and resume are not part of what is streamed: it is the same for those who may use them and those who may not.
  function follow() {
    const gate = document.querySelector('.gate');
    if (gate) gate.dataset.consuming = document.getElementById('figures').dataset.consuming ?? '';
  }

  // How the connection is, told once a change. Figures that are not of now fade and show their age.

  const connection = { state: '', seen: document.querySelector('#figures dl') ? Date.now() : 0 };
  const staleAfter = 5000; // milliseconds: several looks that did not come

  const news = {
    away: 'The database is away. The figures are the last that are known.',
    lost: 'The API does not answer. The figures are the last that are known.',
    live: 'The figures are live again.',
  };

  function turn(state) {
    const before = connection.state;
    if (state !== before) {
      connection.state = state;
      if (news[state] && (state !== 'live' || news[before])) told.textContent = news[state];
    }
    paint();
  }

  function age(milliseconds) {
    const s = Math.max(1, Math.round(milliseconds / 1000));
    if (s < 60) return `${s} s`;
    return s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`;
  }

  function paint() {
    const old = Date.now() - connection.seen;
    const words = {
      live: 'Live',
      away: connection.seen ? `Database away · ${age(old)} old` : 'Database away',
      lost: connection.seen ? `API away · ${age(old)} old` : 'API away',
      hidden: 'Paused',
    };
    const text = words[connection.state] ?? 'Connecting';
    if (pulse.textContent !== text) pulse.textContent = text;
    pulse.dataset.state = connection.state;
    root.classList.toggle('stale', connection.state === 'away' || connection.state === 'lost');
  }

  // The stream. It comes back by itself; the browser's own way gives up at the first answer that is no stream, a proxy's 502 say.

  let stream = null;
  let again = 0; // timer of the next try
  let silence = 0; // timer that ends a stream that says nothing: a connection can be dead and not know
  let tries = 0;

  function connect() {
    disconnect();
    stream = new EventSource(new URL('events', document.baseURI));
    stream.addEventListener('page', (event) => {
      show(event.data);
      heard();
    });
    stream.addEventListener('snapshot', () => {
      connection.seen = Date.now();
      turn('live');
      heard();
    });
    stream.addEventListener('away', () => {
      turn('away');
      heard();
    });
    stream.addEventListener('series', (event) => charts.take(JSON.parse(event.data)));
    stream.addEventListener('bye', () => retry());
    stream.addEventListener('error', () => retry());
    listen();
  }

  function heard() {
    tries = 0;
    listen();
  }

  function listen() {
    window.clearTimeout(silence);
    silence = window.setTimeout(retry, 2 * staleAfter);
  }

  function retry() {
    disconnect();
    tries += 1;
    if (tries > 1 || Date.now() - connection.seen > staleAfter) turn('lost');
    again = window.setTimeout(connect, Math.min(4000, 250 * 2 ** tries) * (0.75 + Math.random() / 2));
  }

  function disconnect() {
    window.clearTimeout(again);
    window.clearTimeout(silence);
    stream?.close();
    stream = null;
  }

  function visible() {
    if (document.hidden) {
      disconnect();
      turn('hidden');
    } else {
      tries = 0;
      connect();
    }
  }

  // Charts: uPlot draws what the table below each says.

  const charts = (() => {
    const style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const sum = (w) => w.at.map((_, i) => [w.waiting[i], w.in_flight[i], w.delayed[i]].reduce((a, b) => (a === null || b === null ? null : a + b)));
    const plain = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
    const short = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });
    const none = '–';

    const number = (v) => {
      if (v === null || v === undefined) return none;
      if (v > 0 && v < 0.05) return '<0.1';
      return v < 9.95 && v > 0 && v % 1 ? v.toFixed(1) : plain.format(v);
    };
    const whole = (v) => (v === null || v === undefined ? none : plain.format(v));
    const span = (v) => {
      if (v === null || v === undefined) return none;
      if (v <= 0) return '0 s';
      if (v < 0.9995) return v < 0.001 ? '<1 ms' : `${Math.round(v * 1000)} ms`;
      if (v < 9.95) return `${v.toFixed(1).replace(/\.0$/, '')} s`;
      if (v < 599.5) return `${Math.round(v)} s`;
      return v < 36000 ? `${plain.format(Math.round(v / 60))} min` : `${plain.format(Math.round(v / 3600))} h`;
    };
    const tick = (v) => (v === null ? '' : v < 10000 ? plain.format(v) : short.format(v));
    const spanTick = (v) => (v === null ? '' : v < 1 ? (v === 0 ? '0' : `${+(v * 1000).toPrecision(3)} ms`) : span(v));

    const kinds = {
      flow: { lines: [{ of: (w) => w.accepted_per_second, say: number, colour: 'in' }, { of: (w) => w.completed_per_second, say: number, colour: 'out' }], tick },
      backlog: {
        lines: [{ of: sum, say: whole, colour: 'backlog', fill: 'backlog-wash' }, { of: (w) => w.consumers, say: whole, colour: 'muted', step: true, scale: 'consumers' }],
        tick,
      },
      latency: {
        lines: [{ of: (w) => w.p50_seconds, say: span, colour: 'p50' }, { of: (w) => w.p95_seconds, say: span, colour: 'p95' }, { of: (w) => w.p99_seconds, say: span, colour: 'p99' }],
        tick: spanTick,
        floor: 0.01,
      },
    };

    const clock = (seconds, withSeconds) => new Date(seconds * 1000).toISOString().slice(11, withSeconds ? 19 : 16);
    const all = [];
    let series = null;
    let shown = 'minutes';

    for (const host of document.querySelectorAll('[data-chart]')) {
      const figure = host.closest('figure');
      all.push({ host, kind: kinds[host.dataset.chart], values: [...figure.querySelectorAll('.legend b')], body: figure.querySelector('tbody'), table: figure.querySelector('details'), plot: null });
    }

    const columns = (chart) => [series[shown].at, ...chart.kind.lines.map((line) => line.of(series[shown]))];

    function say(chart, data, index) {
      chart.kind.lines.forEach((line, i) => {
        const text = line.say(data[i + 1][index] ?? null);
        if (chart.values[i].textContent !== text) chart.values[i].textContent = text;
      });
    }

    // The table is written when somebody looks at it.
    function write(chart, data) {
      if (!chart.table.open) return;
      chart.body.replaceChildren(...data[0].map((at, i) => {
        const row = document.createElement('tr');
        const head = document.createElement('th');
        head.scope = 'row';
        head.textContent = clock(at, true);
        row.append(head, ...chart.kind.lines.map((line, j) => {
          const cell = document.createElement('td');
          cell.className = 'num';
          cell.textContent = line.say(data[j + 1][i]);
          return cell;
        }));
        return row;
      }).reverse());
    }

    function make(chart, data) {
      const { kind, host } = chart;
      const line = colour('line');
      const font = `12px ${getComputedStyle(document.body).fontFamily}`;
      const axis = { stroke: colour('muted'), font, grid: { stroke: line, width: 1 }, ticks: { show: false }, border: { show: false } };
      const zero = (least) => (_, min, max) => [0, Math.max(least, (max ?? 0) * 1.08)];
      return new uPlot({
        width: host.clientWidth,
        height: host.clientHeight,
        padding: [10, kind.lines.some((l) => l.scale) ? 4 : 18, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 }, sync: { key: 'past' } },
        scales: { x: { time: true, range: () => range() }, y: { range: zero(kind.floor ?? 4) }, consumers: { range: zero(4) } },
        axes: [
          { ...axis, grid: { show: false }, size: 26, space: 70, values: (_, ticks) => ticks.map((t) => clock(t, false)), incrs: [60, 120, 300, 600, 900, 1800] },
          { ...axis, size: (u, values) => (values ? 14 + 7 * Math.max(...values.map((v) => v.length), 2) : 40), space: 34, values: (_, ticks) => ticks.map(kind.tick) },
          ...(kind.lines.some((l) => l.scale) ? [{ ...axis, scale: 'consumers', side: 1, grid: { show: false }, size: 26, space: 34, values: (_, ticks) => ticks.map((t) => (t % 1 ? '' : plain.format(t))) }] : []),
        ],
        series: [{}, ...kind.lines.map((l) => ({
          stroke: colour(l.colour),
          fill: l.fill ? colour(l.fill) : undefined,
          width: l.step ? 1.25 : 1.75,
          dash: l.step ? [4, 3] : undefined,
          scale: l.scale ?? 'y',
          paths: l.step ? uPlot.paths.stepped({ align: 1 }) : uPlot.paths.linear(),
          points: { show: false },
        }))],
        hooks: { setCursor: [(u) => say(chart, u.data, u.cursor.idx ?? u.data[0].length - 1)] },
      }, data, host);
    }

    // Charts move with the time of the last sample; what is not known is a gap.
    function range() {
      const at = series[shown].at;
      const length = shown === 'minutes' ? 300 : 3600;
      const end = at.length ? at[at.length - 1] : Date.now() / 1000;
      return [end - length, end];
    }

    function draw() {
      if (!series) return;
      for (const chart of all) {
        const data = columns(chart);
        if (chart.plot) chart.plot.setData(data);
        else chart.plot = make(chart, data);
        if (chart.plot.cursor.idx === null || chart.plot.cursor.idx === undefined) say(chart, data, data[0].length - 1);
        write(chart, data);
      }
    }

    function again() {
      for (const chart of all) {
        chart.plot?.destroy();
        chart.plot = null;
      }
      draw();
    }

    window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
    new ResizeObserver(() => {
      for (const { plot, host } of all) {
        if (plot && (plot.width !== host.clientWidth || plot.height !== host.clientHeight)) plot.setSize({ width: host.clientWidth, height: host.clientHeight });
      }
    }).observe(document.querySelector('.charts'));
    for (const chart of all) chart.table.addEventListener('toggle', () => series && write(chart, columns(chart)));
    for (const button of document.querySelectorAll('[data-window]')) {
      button.addEventListener('click', () => {
        shown = button.dataset.window;
        for (const other of document.querySelectorAll('[data-window]')) other.setAttribute('aria-pressed', String(other === button));
        document.getElementById('span').textContent = button.textContent.toLowerCase();
        draw();
      });
    }
    document.getElementById('tabs').hidden = false;

    return {
      take(data) {
        series = data;
        draw();
      },
    };
  })();

  pulse.hidden = false;
  window.setInterval(paint, 1000);
  document.addEventListener('visibilitychange', visible);
  window.addEventListener('pagehide', disconnect);
  window.addEventListener('pageshow', (event) => event.persisted && visible());
  visible();
})();
