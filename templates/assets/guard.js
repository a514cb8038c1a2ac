// A page that lured someone into a double click could put this one under the second click just in time.
// A decision made within half a second of the window coming to the front is therefore not sent.
"use strict";
(() => {
  let front = -Infinity;
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) front = performance.now();
  });
  document.addEventListener("submit", (event) => {
    if (!event.isTrusted || performance.now() - front < 500) event.preventDefault();
  });
})();
