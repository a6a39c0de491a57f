/* Keeps the last first screen of each unit, so that /r opens when the line is gone. The network comes first, a new release takes
   over at once, and nothing else is kept: no receipt, no report, no picture, no names. */
"use strict";

var CACHE = "fanzha-r-RELEASE";
var KEEP_MS = 7 * 24 * 3600 * 1000;
var ANSWER_WITHIN_MS = 8000; // then the kept page is shown, if there is one
var AT = "x-fanzha-kept-at";

self.addEventListener("install", function () {
  self.skipWaiting();
});
self.addEventListener("activate", function (event) {
  event.waitUntil(
    caches
      .keys()
      .then(function (names) {
        return Promise.all(
          names
            .filter(function (name) {
              return name.indexOf("fanzha-r-") === 0 && name !== CACHE;
            })
            .map(function (name) {
              return caches.delete(name);
            })
        );
      })
      .then(function () {
        return self.clients.claim();
      })
  );
});
self.addEventListener("fetch", function (event) {
  var url = new URL(event.request.url);
  if (event.request.mode !== "navigate" || event.request.method !== "GET" || url.pathname !== "/r") return;
  event.respondWith(page(event));
});

function page(event) {
  var network = fetch(event.request).then(function (response) {
    if (response.status >= 500) return response;
    return keep(event.request, response).then(function () {
      return response;
    });
  });
  var late = new Promise(function (resolve) {
    setTimeout(resolve, ANSWER_WITHIN_MS);
  }).then(function () {
    return kept(event.request);
  });
  var first = Promise.race([network, late]).then(function (response) {
    return response || network;
  });
  event.waitUntil(network.catch(function () {}));
  return first.then(
    function (response) {
      if (response.status < 500) return response;
      return kept(event.request).then(function (old) {
        return old || response;
      });
    },
    function () {
      return kept(event.request).then(function (old) {
        return old || away();
      });
    }
  );
}
/* Keeps a first screen; where the server shows anything else, as to a phone that was signed out, all that was kept is thrown away. */
function keep(request, response) {
  if (response.status !== 200 || response.headers.get("x-fanzha-keep") !== "yes")
    return response.redirected || response.type === "opaqueredirect" ? Promise.resolve() : caches.delete(CACHE);
  var copy = response.clone();
  return copy.text().then(function (text) {
    var body = text.replace('<div id="r"', '<div id="r" data-kept');
    var headers = new Headers(copy.headers);
    headers.set(AT, String(Date.now()));
    return caches.open(CACHE).then(function (cache) {
      return cache.put(request.url, new Response(body, { status: 200, headers: headers }));
    });
  });
}
function kept(request) {
  return caches.open(CACHE).then(function (cache) {
    return cache.match(request.url).then(function (found) {
      if (found && Date.now() - Number(found.headers.get(AT)) > KEEP_MS)
        return cache.delete(request.url).then(function () {
          return undefined;
        });
      return found;
    });
  });
}
function away() {
  return new Response(
    '<!doctype html><html lang="zh-Hans"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">' +
      "<title>没有网络</title><h1>没有网络</h1><p>有网后请重新打开本页。填过的内容还在这部手机上。</p></html>",
    { status: 503, headers: { "content-type": "text/html; charset=utf-8" } }
  );
}
