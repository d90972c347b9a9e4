const byId = (id) => document.getElementById(id);
const layers = [['iou', 'IoU'], ['biou', 'Boundary IoU'], ['predicted', 'Predicted IoU']];
const names = {min: 'MIN', base: 'BASE, robot user', max: 'MAX'};
const inks = {min: '#d55e00', base: '#000000', max: '#0072b2'};
const truth = '#f0e442';
const blue = [0, 114, 178];
// Viridis (matplotlib) at even steps.
const viridis = [[68, 1, 84], [72, 36, 117], [65, 68, 135], [53, 95, 141], [42, 120, 142],
  [33, 145, 140], [34, 168, 132], [68, 191, 112], [122, 209, 81], [189, 223, 38], [253, 231, 37]];
const leastSpan = 0.02;  // So that differences that mean nothing look like nothing.
let one = null;  // The object that is shown, with what was unpacked of it.
let kept = 0;  // Number of the click that a press has kept.
let at = 0;  // Number of the click that is shown.

const colour = (share) => {
  const place = Math.min(Math.max(share, 0), 1) * (viridis.length - 1);
  const low = Math.min(Math.floor(place), viridis.length - 2);
  const mixed = viridis[low].map((value, i) =>
    Math.round(value + (place - low) * (viridis[low + 1][i] - value)));
  return `rgb(${mixed.join(',')})`;
};
const priorName = (name) => name.startsWith('gaussian_')
  ? `Gaussian, ${+(100 * name.slice('gaussian_'.length)).toFixed(1)} %`
  : name === 'distance' ? 'border distance' : name;

function canvasOf(width, height) {
  const made = element('canvas');
  [made.width, made.height] = [width, height];
  return made;
}
async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
function restored(masks, count) {
  // Each but the first is kept as what differs from the one before.
  const size = masks.length / count;
  for (let i = size; i < masks.length; i += 1) masks[i] ^= masks[i - size];
  return masks;
}
const bit = (bytes, index) => (bytes[index >> 3] >> (7 - (index & 7))) & 1;

function painted(width, height, pixel) {
  // A canvas whose pixels are [red, green, blue, alpha], or nothing.
  const made = canvasOf(width, height);
  const context = made.getContext('2d');
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i += 1) {
    const found = pixel(i);
    if (found) image.data.set(found, 4 * i);
  }
  context.putImageData(image, 0, 0);
  return made;
}
function outline(legal, [height, width]) {
  const inside = (y, x) => y >= 0 && x >= 0 && y < height && x < width && legal[y * width + x];
  const near = (index, reach, wanted) => {
    const [y, x] = [Math.floor(index / width), index % width];
    for (let dy = -reach; dy <= reach; dy += 1) {
      for (let dx = -reach; dx <= reach; dx += 1) {
        if (Math.abs(dy) + Math.abs(dx) <= reach && Boolean(inside(y + dy, x + dx)) === wanted) return true;
      }
    }
    return false;
  };
  return painted(width, height, (index) => {
    if (legal[index]) return near(index, 2, false) ? [240, 228, 66, 255] : null;
    return near(index, 1, true) ? [20, 20, 20, 255] : null;
  });
}

function value(layer, index) {
  const values = layer.startsWith('prior ') ? one.priors[layer.slice(6)] : one[layer];
  const found = values ? values[index] : null;
  return found === null || found === undefined ? null : found / (layer.startsWith('prior ') ? 1000 : 10000);
}
function limits(layer) {
  const known = one.yx[0].map((_, index) => value(layer, index)).filter((found) => found !== null);
  if (layer.startsWith('prior ') || !known.length) return [0, 1];
  const [low, high] = [known.reduce((a, b) => Math.min(a, b)), known.reduce((a, b) => Math.max(a, b))];
  if (high - low >= leastSpan) return [low, high];
  const start = Math.min(Math.max((low + high - leastSpan) / 2, 0), 1 - leastSpan);
  return [start, start + leastSpan];
}
function paint(layer) {
  // The map at the size of the photograph: every click as the square of its stride, on the object.
  const [height, width] = one.shape;
  const [down, across] = [height / one.size[0], width / one.size[1]];
  const made = canvasOf(width, height);
  const context = made.getContext('2d');
  const [low, high] = limits(layer);
  const half = Math.floor(one.stride / 2);
  one.yx[0].forEach((y, index) => {
    const x = one.yx[1][index];
    const found = value(layer, index);
    // The robot user's click is a square only where it is on the lattice itself.
    const off = y % one.stride !== half || x % one.stride !== half;
    if (found === null || (index === 0 && off && one.yx[0].length > 1)) return;
    context.fillStyle = colour((found - low) / (high - low));
    const [left, top] = [Math.floor((x - half) * across), Math.floor((y - half) * down)];
    const right = Math.ceil((x - half + one.stride) * across);
    context.fillRect(left, top, right - left, Math.ceil((y - half + one.stride) * down) - top);
  });
  if (one.inside) {
    context.globalCompositeOperation = 'destination-in';
    context.drawImage(one.inside, 0, 0);
  }
  return made;
}

function fitted(view) {
  // The drawing surface of a view at the screen's own resolution.
  const canvas = byId(view).querySelector('canvas');
  const scale = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(byId(view).clientWidth * scale));
  const height = Math.max(1, Math.round(byId(view).clientHeight * scale));
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext('2d');
  context.clearRect(0, 0, width, height);
  return {context, width, height, scale,
    x: (x) => (x + 0.5) * width / one.size[1], y: (y) => (y + 0.5) * height / one.size[0]};
}
function shape(context, kind, x, y, reach) {
  context.beginPath();
  if (kind === 'base') context.arc(x, y, reach, 0, 2 * Math.PI);
  else {
    const turn = kind === 'min' ? 1 : -1;
    context.moveTo(x - reach, y - turn * reach * 0.8);
    context.lineTo(x + reach, y - turn * reach * 0.8);
    context.lineTo(x, y + turn * reach);
    context.closePath();
  }
}
function mark(surface, kind, x, y) {
  const {context, scale} = surface;
  const reach = scale * {min: 11, base: 4, max: 7}[kind];
  for (const [ink, width] of [['#ffffff', 5], [inks[kind], 2.5]]) {
    shape(context, kind, surface.x(x), surface.y(y), reach);
    context.lineWidth = scale * width;
    context.strokeStyle = ink;
    context.stroke();
    if (kind === 'base') { context.fillStyle = inks[kind]; context.fill(); }
  }
}
function ring(surface, x, y) {
  for (const [ink, width] of [['#000000', 5], ['#ffffff', 2.5]]) {
    surface.context.beginPath();
    surface.context.arc(surface.x(x), surface.y(y), 8 * surface.scale, 0, 2 * Math.PI);
    surface.context.lineWidth = surface.scale * width;
    surface.context.strokeStyle = ink;
    surface.context.stroke();
  }
}
const layer = () => byId('layer').value;
const chosenOf = (id, list) => byId(id).value === '' ? null : list[Number(byId(id).value)];
const preset = () => chosenOf('preset', one.presets);
const clicked = () => chosenOf('users', one.users);

function drawMap() {
  const surface = fitted('map');
  const {context, width, height} = surface;
  context.globalAlpha = byId('opacity').value / 100;
  context.drawImage(one.painted, 0, 0, width, height);
  context.globalAlpha = 1;
  if (one.edge) context.drawImage(one.edge, 0, 0, width, height);
  const [low, high] = limits('iou');
  for (const [y, x, iou] of clicked() ? clicked().clicks : []) {
    context.beginPath();
    context.arc(surface.x(x), surface.y(y), 4 * surface.scale, 0, 2 * Math.PI);
    context.fillStyle = colour((iou - low) / (high - low));
    context.strokeStyle = '#ffffff';
    context.lineWidth = 1.5 * surface.scale;
    context.fill();
    context.stroke();
  }
  const found = preset() ? preset().clicks : {};
  for (const mode of ['min', 'max', 'base']) {
    if (found[mode]) mark(surface, mode, found[mode][1], found[mode][0]);
  }
  ring(surface, one.yx[1][at], one.yx[0][at]);
}
function drawAnswer() {
  const surface = fitted('answer');
  if (one.answers) {
    const start = at * data.side * data.side;
    const mask = painted(data.side, data.side, (index) =>
      bit(one.answers, start + index) ? [...blue, 150] : null);
    surface.context.drawImage(mask, 0, 0, surface.width, surface.height);
  }
  if (one.edge) surface.context.drawImage(one.edge, 0, 0, surface.width, surface.height);
  ring(surface, one.yx[1][at], one.yx[0][at]);
}
const digits = (found) => found === null ? '-' : found.toFixed(3);
function tell() {
  const prior = layer().startsWith('prior ') ? layer() : 'prior distance';
  byId('place').textContent = `${one.yx[0][at]}, ${one.yx[1][at]}`;
  for (const [key] of layers) byId(key).textContent = digits(value(key, at));
  byId('prior').textContent = digits(value(prior, at));
}
function show(index) {
  at = index;
  tell();
  drawMap();
  drawAnswer();
}

function swatch(made, text) {
  return element('span', {}, made, text);
}
function symbol(kind) {
  const svg = drawn('svg', {viewBox: '0 0 18 18', 'aria-hidden': 'true'});
  const points = {min: '1,4 17,4 9,16', max: '3,14 15,14 9,4'}[kind];
  svg.append(points
    ? drawn('polygon', {points, fill: 'none', stroke: kind === 'min' ? 'var(--min)' : 'var(--max)', 'stroke-width': 2.2})
    : drawn('circle', {cx: 9, cy: 9, r: kind === 'base' ? 4 : 6, 'stroke-width': kind === 'user' ? 1.2 : 2.2,
      stroke: 'var(--ink)', fill: {base: 'var(--ink)', user: colour(0.8), shown: 'none'}[kind]}));
  return svg;
}
function legend() {
  const [low, high] = limits(layer());
  byId('low').textContent = low.toFixed(2);
  byId('high').textContent = high.toFixed(2);
  byId('named').textContent = byId('layer').selectedOptions[0].textContent;
  const parts = [swatch(element('i', {style: `border-color: ${truth}`}), 'object'),
    swatch(symbol('shown'), 'click that is shown')];
  const found = preset();
  for (const mode of Object.keys(names)) {
    if (found && found.clicks[mode]) parts.push(swatch(symbol(mode), names[mode]));
  }
  if (clicked()) parts.push(swatch(symbol('user'), 'users, in the colour of their IoU'));
  byId('key').replaceChildren(...parts);
  const lines = [];
  if (found) {
    const ious = Object.keys(names).filter((mode) => found.clicks[mode])
      .map((mode) => `${mode.toUpperCase()} ${found.clicks[mode][2].toFixed(3)}`);
    const share = found.share === null ? '' : `; share of the true range ${found.share.toFixed(2)}`;
    lines.push(`${found.name}: IoU of ${ious.join(', ')}${share}.`);
  }
  if (clicked()) {
    const ious = clicked().clicks.map((click) => click[2]);
    const below = ious.filter((iou) => iou < 0.5).length;
    const mean = ious.reduce((sum, iou) => sum + iou, 0) / ious.length;
    lines.push(`${clicked().name}: ${ious.length} clicks, mean IoU ${mean.toFixed(3)}, ${below} below 0.5.`);
  }
  byId('found').textContent = lines.join(' ');
  const answered = [swatch(element('i', {style: `border-color: rgb(${blue.join(',')})`}), 'the mask that the model answered'),
    swatch(element('i', {style: `border-color: ${truth}`}), 'object')];
  byId('answered').replaceChildren(...(one.answers ? answered : [element('span', {}, one.missing)]));
}
function redraw() {
  one.painted = paint(layer());
  legend();
  show(at);
}

function nearest(y, x) {
  let best = 0;
  let least = Infinity;
  one.yx[0].forEach((row, index) => {
    const distance = (row - y) ** 2 + (one.yx[1][index] - x) ** 2;
    if (distance < least) [best, least] = [index, distance];
  });
  return best;
}
function step(down, across) {
  // The nearest click within 45 degrees of a direction.
  const [y, x] = [one.yx[0][at], one.yx[1][at]];
  let best = at;
  let least = Infinity;
  one.yx[0].forEach((row, index) => {
    const [dy, dx] = [row - y, one.yx[1][index] - x];
    const [along, aside] = [dy * down + dx * across, Math.abs(dy * across) + Math.abs(dx * down)];
    const distance = along + 2 * aside;
    if (along > 0 && aside <= along && distance < least) [best, least] = [index, distance];
  });
  return best;
}
function pointed(event) {
  const box = event.currentTarget.getBoundingClientRect();
  return nearest((event.clientY - box.top) / box.height * one.size[0] - 0.5,
    (event.clientX - box.left) / box.width * one.size[1] - 0.5);
}
function options(id, entries, chosen) {
  byId(id).replaceChildren(...entries.map(([key, text]) => element('option', {value: key}, text)));
  if (entries.some(([key]) => key === chosen)) byId(id).value = chosen;
}
function move(by) {
  const count = data.objects.length;
  byId('object').value = String((Number(byId('object').value) + by + count) % count);
  choose();
}

async function choose() {
  const number = Number(byId('object').value);
  document.body.removeAttribute('data-shown');
  const [before, asked] = [byId('preset').selectedOptions[0], layer()];
  one = {...data.objects[number]};
  one.missing = one.masks === null ? 'This run kept no masks.' : 'Unpacking the masks ...';
  const mine = one;
  for (const view of ['map', 'answer']) {
    byId(view).style.setProperty('--ratio', one.size[1] / one.size[0]);
    byId(view).style.aspectRatio = `${one.size[1]} / ${one.size[0]}`;
    const image = byId(view).querySelector('img');
    image.hidden = !one.photo;
    if (one.photo) image.src = one.photo;
    else image.removeAttribute('src');
  }
  byId('map').setAttribute('aria-label', `${one.name}: map of first clicks; arrow keys move between them`);
  byId('answer').setAttribute('aria-label', `${one.name}: what the model answered`);
  const known = layers.filter(([key]) => one[key].some((found) => found !== null));
  options('layer', [...known, ...Object.keys(one.priors).map((name) =>
    [`prior ${name}`, `Prior: ${priorName(name)}`])], asked);
  const same = one.presets.findIndex(({name}) => before && name === before.textContent);
  options('preset', [...one.presets.map(({name}, index) => [String(index), name]), ['', 'nothing']],
    before && before.value === '' ? '' : String(same < 0 ? one.presets.length - 1 : same));
  const users = one.users.map(({name}, index) => [String(index), name]);
  options('users', [['', users.length ? 'none' : 'none given'], ...users], byId('users').value);
  byId('users').disabled = !users.length;
  byId('notes').textContent = one.notes.join('; ');
  [kept, at] = [0, 0];
  redraw();
  try {
    const [height, width] = one.shape;
    const legal = await unpacked(mine.legal);
    const flat = Uint8Array.from({length: height * width}, (_, index) => bit(legal, index));
    mine.inside = painted(width, height, (index) => flat[index] ? [0, 0, 0, 255] : null);
    mine.edge = outline(flat, mine.shape);
    if (mine.masks !== null) mine.answers = restored(await unpacked(mine.masks), mine.yx[0].length);
  } catch (error) {
    mine.missing = `The masks cannot be unpacked by this browser (${error.message}).`;
  }
  if (mine !== one) return;
  redraw();
  document.body.setAttribute('data-shown', String(number));
}

function begin() {
  const count = data.objects.length;
  const some = count < data.most ? `the ${count} objects of the widest range of IoU, of ${data.most}` : `${count} object${count === 1 ? '' : 's'}`;
  byId('lead').textContent = `${data.model} on ${data.dataset}: ${some}.`;
  if (!count) { document.querySelector('main').hidden = true; return; }
  options('object', data.objects.map(({name}, index) => [String(index), name]), '0');
  const bar = byId('bar').getContext('2d');
  for (let x = 0; x < 256; x += 1) { bar.fillStyle = colour(x / 255); bar.fillRect(x, 0, 1, 1); }
  byId('object').addEventListener('change', choose);
  byId('before').addEventListener('click', () => move(-1));
  byId('after').addEventListener('click', () => move(1));
  for (const id of ['layer', 'preset', 'users']) byId(id).addEventListener('change', redraw);
  byId('opacity').addEventListener('input', drawMap);
  for (const view of ['map', 'answer']) {
    byId(view).addEventListener('pointermove', (event) => show(pointed(event)));
    byId(view).addEventListener('pointerleave', () => show(kept));
    byId(view).addEventListener('pointerdown', (event) => { kept = pointed(event); show(kept); });
  }
  const arrows = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
  byId('map').addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const shown = byId('layer').options[Number(event.key) - 1];
    if (arrows[event.key]) { kept = step(...arrows[event.key]); show(kept); }
    else if (event.key === 'Home') { kept = 0; show(0); }
    else if (event.key === 'PageDown' || event.key === 'PageUp') move(event.key === 'PageDown' ? 1 : -1);
    else if (shown) { byId('layer').value = shown.value; redraw(); }
    else return;
    event.preventDefault();
  });
  window.addEventListener('resize', () => show(at));
  choose();
}
begin();
