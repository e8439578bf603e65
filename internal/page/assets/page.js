'use strict';
const $ = (id) => document.getElementById(id);
const count = (n) => Math.round(n).toLocaleString('en');
const bytes = (n) => {
  for (const [unit, size] of [['TB', 1e12], ['GB', 1e9], ['MB', 1e6], ['kB', 1e3]]) {
    if (n >= size) return (n / size).toFixed(n >= 100 * size ? 0 : 1) + ' ' + unit;
  }
  return Math.round(n) + ' B';
};
const span = (s) => {
  if (s < 90) return Math.round(s) + ' s';
  if (s < 5400) return Math.round(s / 60) + ' min';
  if (s < 172800) return (s / 3600).toFixed(1) + ' h';
  return (s / 86400).toFixed(1) + ' days';
};
const millis = (ms) => count(ms) + ' ms';

// make returns an element. Text is set as text, never as HTML: names of peers are strangers' words.
function make(tag, name, text) {
  const e = document.createElement(tag);
  if (name) e.className = name;
  if (text !== undefined) e.textContent = text;
  return e;
}

function cells(map, hex) {
  while (map.childElementCount < 256) {
    const cell = make('i');
    cell.title = map.childElementCount.toString(16).padStart(2, '0');
    map.append(cell);
  }
  let on = 0;
  for (let i = 0; i < 256; i++) {
    const set = (parseInt(hex[i >> 2], 16) & (8 >> (i & 3))) !== 0;
    if (set) on++;
    map.children[i].classList.toggle('on', set);
  }
  return on;
}

function showState(s) {
  const b = s.backfill;
  const full = s.phase === 'full';
  const share = full ? 1 : b ? b.share : 0;
  $('share').textContent = full ? 'all of it' : b ? (100 * share).toFixed(1) + ' %' : '';
  $('sharebar').style.width = 100 * share + '%';
  const filled = cells($('map'), full ? 'f'.repeat(64) : b && b.map ? b.map : '0'.repeat(64));
  $('map').setAttribute('aria-label', 'Key space of the accounts: ' + filled + ' of 256 slices are complete');
  if (full) {
    $('eta').textContent = 'This is a full node: it executes on its own disk.';
    $('large').replaceChildren();
    $('counts').textContent = '';
    return;
  }
  if (!b) {
    $('eta').textContent = 'The rest of the state is not collected.';
    return;
  }
  let words = 'How long it will take is not known yet.';
  if (b.eta > 0) {
    words = span(b.eta) + ' to go';
    if (span(b.etaLow) !== span(b.etaHigh)) words += ', likely ' + span(b.etaLow) + ' to ' + span(b.etaHigh);
    words += '; about ' + bytes(b.remaining) + ' at ' + bytes(b.rate) + '/s';
  }
  $('eta').textContent = words;
  $('counts').textContent = count(b.accounts) + ' accounts, ' + count(b.slots) + ' slots, ' + count(b.codes) + ' codes, ' + bytes(b.bytes) + ' received';
  showLarge(b.large);
}

function showLarge(large) {
  const box = $('large');
  if (!large.length) {
    box.replaceChildren();
    return;
  }
  if (!box.firstChild) box.append(make('h3', '', 'Large contracts'));
  const known = new Map([...box.querySelectorAll('div')].map((e) => [e.dataset.account, e]));
  for (const c of large) {
    let e = known.get(c.account);
    known.delete(c.account);
    if (!e) {
      e = make('div');
      e.dataset.account = c.account;
      e.append(make('p'), make('div', 'map'));
      e.firstChild.append(make('span', '', c.account.slice(0, 18) + '...'), make('span'));
      box.append(e);
    }
    const on = cells(e.lastChild, c.map);
    e.firstChild.lastChild.textContent = Math.round(on / 2.56) + ' %';
  }
  for (const e of known.values()) if (e.dataset.account) e.remove();
}

// times are where the time of a block went, in order.
const times = (b) => [['wait', b.waitMs, 'waiting for peers'], ['guess', b.guessMs, 'speculating'], ['run', b.runMs, 'executing'], ['write', b.writeMs, 'writing']];

function parts(b, scale) {
  return times(b).map(([name, ms]) => {
    const part = make('i', name);
    part.style.width = 100 * ms / scale + '%';
    return part;
  });
}

function timeBar(b, scale) {
  const cell = make('td', 'time');
  const bar = make('div');
  bar.append(...parts(b, scale));
  cell.append(bar);
  return cell;
}

function showBlocks(s) {
  const t = s.totals;
  $('totals').textContent = count(t.valid) + ' valid' + (t.invalid ? ', ' + count(t.invalid) + ' invalid' : '') + (t.incomplete ? ', ' + count(t.incomplete) + ' incomplete' : '');
  const rows = s.blocks.slice().reverse();
  const scale = Math.max(1, ...rows.map((b) => b.ms + b.writeMs));
  $('blockrows').replaceChildren(...rows.map((b) => {
    const row = make('tr');
    row.append(make('td', '', count(b.number)), make('td', b.outcome, b.outcome), make('td', 'n', count(b.ms)), timeBar(b, scale));
    for (const v of [b.trips, b.faults, b.nodes]) row.append(make('td', 'n', count(v)));
    row.append(make('td', 'n', (b.gas / 1e6).toFixed(1)), make('td', 'n', count(b.txs)));
    return row;
  }));
  if (!rows.length) {
    const cell = make('td', 'none', 'No block was executed yet.');
    cell.colSpan = 9;
    const row = make('tr');
    row.append(cell);
    $('blockrows').append(row);
    return;
  }
  const last = rows[0];
  $('lastname').textContent = count(last.number);
  $('split').replaceChildren(...parts(last, Math.max(1, last.ms + last.writeMs)));
  $('legend').replaceChildren(...times(last).map(([name, ms, words]) => {
    const entry = make('span');
    entry.append(make('i', name), words + ' ', make('b', '', millis(ms)));
    return entry;
  }));
  $('lastwords').textContent = last.faults === 0 ? 'All of the state that it read was here.' :
    count(last.faults) + ' reads needed the network, in ' + count(last.trips) + (last.trips === 1 ? ' round trip: ' : ' round trips: ') + count(last.nodes) + ' nodes, ' + count(last.codes) + (last.codes === 1 ? ' code, ' : ' codes, ') + bytes(last.bytes) + '.';
}

function showPeers(peers) {
  $('peerrows').replaceChildren(...peers.map((p) => {
    const row = make('tr');
    const name = make('td', 'wide', p.name || 'unnamed');
    name.append(make('small', '', p.id.slice(0, 12) + (p.inbound ? ', called us' : '')), make('small', 'gives', 'can give ' + p.gives.join(', ')));
    row.append(name, make('td', 'n', p.latencyMs ? count(p.latencyMs) : '-'), make('td', 'n', count(p.head)), make('td', 'n', bytes(p.received)), make('td', 'n', bytes(p.sent)));
    return row;
  }));
  if (!peers.length) {
    const row = make('tr');
    row.append(make('td', 'none', 'No peers.'));
    $('peerrows').append(row);
  }
}

function showDisk(d) {
  const sum = d.stores.reduce((all, store) => all + store.bytes, 0);
  $('stored').textContent = sum ? bytes(sum) : '-';
  $('sum').textContent = sum ? bytes(sum) : '';
  $('free').textContent = d.free ? bytes(d.free) : '-';
  $('stores').replaceChildren(...d.stores.map((store) => {
    const row = make('div', 'store');
    const bar = make('div', 'bar');
    bar.append(make('i'));
    bar.firstChild.style.width = 100 * store.bytes / sum + '%';
    row.append(make('span', '', store.name), bar, make('b', '', bytes(store.bytes)));
    return row;
  }));
  $('diskwords').textContent = bytes(d.hot) + ' of state fetched on demand' + (d.logIndex ? '; about ' + bytes(d.logIndex) + ' of chaindata is the log index' : '') + '.';
}

function show(s) {
  $('network').textContent = s.network;
  $('phase').textContent = s.phase;
  $('phase').className = 'badge ' + s.phase;
  $('waits').textContent = s.waits.length ? s.waits.join(' ') : 'The node serves the head of the chain.';
  $('waits').className = s.ready ? 'ready' : '';
  $('head').textContent = count(s.head);
  $('lag').textContent = count(Math.max(0, s.newest - s.head));
  $('peercount').textContent = s.peers.length;
  $('version').textContent = 'Sunbeam ' + s.version + (s.history.share < 1 ? '. Old blocks: ' + (100 * s.history.share).toFixed(1) + ' %, down to ' + count(s.history.oldest) + '.' : '');
  document.title = (s.phase === 'full' ? 'full' : s.backfill ? Math.floor(100 * s.backfill.share) + ' %' : s.phase) + ' - Sunbeam ' + count(s.head);
  showState(s);
  showBlocks(s);
  showPeers(s.peers);
  showDisk(s.disk);
}

// The stream is open only while the page is visible: a hidden one costs the node nothing.
let stream = null;
function open() {
  if (stream || document.hidden) return;
  stream = new EventSource('events');
  stream.onmessage = (event) => show(JSON.parse(event.data));
  stream.onerror = () => {
    $('phase').textContent = 'no connection';
    $('phase').className = 'badge off';
    $('waits').textContent = 'The node does not answer. The page goes on by itself when it does.';
    $('waits').className = 'off';
    if (stream && stream.readyState === EventSource.CLOSED) { // refused: too many pages
      stream = null;
      setTimeout(open, 5000);
    }
  };
}
document.addEventListener('visibilitychange', () => {
  if (location.search === '?once') return;
  if (!document.hidden) return open();
  if (stream) stream.close();
  stream = null;
});
if (location.search === '?once') fetch('state').then((r) => r.json()).then(show); // a still picture
else open();
