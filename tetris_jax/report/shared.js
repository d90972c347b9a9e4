'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const x100 = (value) => value === null || value === undefined ? '-' : (100 * value).toFixed(1);
const plain = (digits) => (value) => value === null || value === undefined ? '-' : value.toFixed(digits);
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, text] of Object.entries(attributes || {})) made.setAttribute(key, text);
  made.append(...children);
  return made;
}
function drawn(name, attributes, ...children) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, text] of Object.entries(attributes || {})) made.setAttribute(key, text);
  made.append(...children);
  return made;
}
