// The profile over users: a headline with ranks, D by the share of users left out, and bands.
// What is best first: BASE and the mean high, the others low.
const headline = [
  {name: 'BASE', of: (run) => run.iou_auc.base, best: 1},
  {name: 'D', of: (run) => value(run.d), best: -1, estimate: (run) => run.d},
  ...['0.05', '0.25'].map((share) => ({name: `D(${share.slice(1)})`, best: -1,
    of: (run) => value(run.users.d[share]), estimate: (run) => run.users.d[share]})),
  {name: 'Mean', of: (run) => value(run.users.mean), best: 1, estimate: (run) => run.users.mean},
  {name: 'Below 0.5', of: (run) => value(run.users.below['50']), best: -1,
    estimate: (run) => run.users.below['50']},
];
const sampled = (runs) => runs.filter((run) => run.users);
const together = (run) => JSON.stringify([run.dataset, run.preset]);

function rankOf(run, column) {
  // Among the models of its data set and preset; ties share the better rank.
  const others = sampled(data.runs).filter((other) => together(other) === together(run));
  const mine = column.of(run);
  if (others.length < 2 || mine === null || mine === undefined) return '';
  const better = others.filter((other) => column.best * (column.of(other) - mine) > 0
    && column.of(other) !== null);
  return ` #${1 + better.length}`;
}
function profileColumns() {
  return [
    ...nameColumns,
    {name: 'n', of: (run) => run.users.n},
    {name: 'Users', of: (run) => run.users.count, beside: (run) => ` ${priorName(run.users.prior)}`},
    ...headline.map((column) => ({name: column.name, of: column.of, show: x100,
      beside: (run) => (column.estimate ? interval(column.estimate(run)) : '') + rankOf(run, column)})),
  ];
}
function profiles(runs) {
  const groups = new Map();
  for (const run of runs) groups.set(together(run), [...(groups.get(together(run)) || []), run]);
  const most = Math.max(0.1, ...runs.flatMap((run) => run.users.curve.map((one) => one.high ?? one.value ?? 0)));
  return [...groups.values()].map((group) => profile(group, Math.min(1, Math.ceil(10 * most) / 10)));
}
function profile(group, top) {
  const [{dataset, preset}] = group;
  const svg = frame(`D(alpha) of ${group.map((run) => run.model).join(', ')}, ${dataset}, ${preset}`,
    'alpha, share of users at either end');
  const least = Math.min(...group.flatMap((run) => run.users.alphas.filter((alpha) => alpha > 0)));
  // No logarithm has a place for 0, the attack's own D: it stands apart.
  const [zero, first, last] = [box.left + 14, box.left + 52, box.right - 8];
  const x = (alpha) => alpha > 0 ? first + (last - first) * Math.log(alpha / least) / Math.log(1 / least) : zero;
  const y = (d) => box.bottom - (box.bottom - box.top) * Math.max(d, 0) / top;
  const step = top > 0.5 ? 0.2 : top > 0.2 ? 0.1 : 0.05;
  for (let d = 0; d <= top + 1e-9; d += step) level(svg, y(d), (100 * d).toFixed(0));
  const ticks = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1].filter((alpha) => alpha >= least * 0.999);
  for (const alpha of [0, ...ticks]) {
    const text = alpha ? String(alpha).replace(/^0/, '') : '0';
    svg.append(drawn('text', {x: x(alpha), y: box.bottom + 16, 'text-anchor': 'middle'}, text));
  }
  const key = element('p', {class: 'key'});
  group.forEach((run, index) => {
    const ink = data.cycle[index % data.cycle.length];
    const points = run.users.alphas.map((alpha, i) => ({alpha, ...run.users.curve[i]}))
      .filter((point) => point.value !== null);
    const some = points.filter((point) => point.alpha > 0);
    const at = (end) => some.map((point) => `${x(point.alpha).toFixed(1)},${y(point[end] ?? point.value).toFixed(1)}`);
    svg.append(drawn('polygon', {points: [...at('low'), ...at('high').reverse()].join(' '), fill: ink, 'fill-opacity': 0.15}),
      drawn('polyline', {class: 'curve', points: at('value').join(' '), style: `stroke: ${ink}`}));
    for (const {alpha, value: d, low, high} of points) {
      if (!alpha) {
        const aside = zero + 5 * (index - (group.length - 1) / 2);
        svg.append(drawn('line', {x1: aside, x2: aside, y1: y(low ?? d), y2: y(high ?? d), style: `stroke: ${ink}; stroke-width: 1.5`}),
          drawn('circle', {cx: aside, cy: y(d), r: 3.5, fill: ink}));
      }
      svg.append(drawn('circle', {cx: x(alpha), cy: y(d), r: 6, fill: 'transparent'},
        drawn('title', {}, `${run.model}: D(${alpha}) ${x100(d)}${interval({low, high})}`)));
    }
    key.append(element('span', {}, element('i', {style: `border-color: ${ink}`}), run.model));
  });
  const where = [dataset, preset].filter((_, i) => telling.includes(['dataset', 'preset'][i])).join(', ');
  return element('div', {class: 'card'}, element('h3', {}, where || 'D(alpha)'), svg, key);
}
function usersUnder(svg, run, x, y) {
  // Quantiles of users' IoU after each click, below the curves of the attack.
  const found = run.users.per_click;
  const at = (name) => found[name].map((iou, click) => `${x(click).toFixed(1)},${y(iou).toFixed(1)}`);
  const single = found.mean.length === 1;
  for (const [low, high, opacity, width] of [['q05', 'q95', 0.18, 26], ['q25', 'q75', 0.3, 18]]) {
    svg.append(single
      ? drawn('rect', {class: 'users', x: x(0) - width, width: 2 * width, y: y(found[high][0]),
        height: Math.max(1, y(found[low][0]) - y(found[high][0])), 'fill-opacity': opacity})
      : drawn('polygon', {class: 'users', points: [...at(low), ...at(high).reverse()].join(' '), 'fill-opacity': opacity}));
  }
  svg.append(single
    ? drawn('line', {class: 'median', x1: x(0) - 26, x2: x(0) + 26, y1: y(found.q50[0]), y2: y(found.q50[0])})
    : drawn('polyline', {class: 'median', points: at('q50').join(' ')}));
}
