/* The script of the liaison's page. The page works without it; it keeps drafts, sends again when the line is back, and sends
   pictures one by one. Plain ES2018, for the browser inside WeChat. */
(function () {
  "use strict";

  var PREFIX = "fanzha-r:"; // of drafts in localStorage
  var KEEP_DRAFT_MS = 30 * 24 * 3600 * 1000;
  var ANSWER_WITHIN_MS = 30000;
  var UPLOAD_WITHIN_MS = 90000;
  var WAIT_FOR_PICTURES_MS = 20000; // after the button was pressed; then the report goes without those that are not up
  var RETRY_MS = [5000, 15000, 30000, 60000];
  var PICTURE_MAX_PX = 1600;
  var sending = false;
  var retries = 0;
  var timer = 0;
  var saveTimer = 0;
  var typedIn = null; // the report whose latest keystrokes are not saved yet
  var uploads = {}; // pictures on their way, by id
  var said = "";

  function all(selector, within) {
    return Array.prototype.slice.call((within || document).querySelectorAll(selector));
  }
  function root() {
    return document.getElementById("r");
  }
  function place() {
    return root().getAttribute("data-place") || "";
  }
  function el(tag, className, text) {
    var made = document.createElement(tag);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  }
  function plainButton(text, onClick) {
    var button = el("button", "plain", text);
    button.type = "button";
    button.addEventListener("click", onClick);
    return button;
  }

  /* ---- drafts: what was typed, per report, until its receipt is there ------------------------------------------------ */

  var storage = (function () {
    try {
      localStorage.setItem(PREFIX + "test", "1");
      localStorage.removeItem(PREFIX + "test");
      return localStorage;
    } catch (error) {
      return null; // private browsing, or storage is full
    }
  })();

  function draftKey(task) {
    return PREFIX + place() + "|" + task;
  }
  function readDraft(task) {
    if (!storage) return null;
    try {
      return JSON.parse(storage.getItem(draftKey(task)));
    } catch (error) {
      return null;
    }
  }
  function writeDraft(draft) {
    if (!storage) return false;
    try {
      storage.setItem(draftKey(draft.task), JSON.stringify(draft));
      return true;
    } catch (error) {
      return false;
    }
  }
  function dropDraft(task) {
    if (storage) storage.removeItem(draftKey(task));
  }
  function drafts() {
    var found = [];
    var start = PREFIX + place() + "|";
    for (var n = 0; storage && n < storage.length; n++) {
      var key = storage.key(n);
      if (key.indexOf(start) === 0) {
        var draft = readDraft(key.slice(start.length));
        if (draft) found.push(draft);
      }
    }
    return found;
  }
  function forgetOldDrafts() {
    var old = [];
    for (var n = 0; storage && n < storage.length; n++) {
      var key = storage.key(n);
      if (key.indexOf(PREFIX) !== 0) continue;
      try {
        if (Date.now() - JSON.parse(storage.getItem(key)).at > KEEP_DRAFT_MS) old.push(key);
      } catch (error) {
        old.push(key);
      }
    }
    old.forEach(function (key) {
      storage.removeItem(key);
    });
  }

  function controls(fieldset) {
    return all("input[name], select[name], textarea[name]", fieldset).filter(function (control) {
      return control.type !== "file" && control.type !== "submit";
    });
  }
  function pairsOf(fieldset) {
    var pairs = [];
    controls(fieldset).forEach(function (control) {
      if ((control.type === "checkbox" || control.type === "radio") && !control.checked) return;
      if (control.tagName === "SELECT") {
        all("option", control).forEach(function (option) {
          if (option.selected) pairs.push([control.name, option.value]);
        });
      } else pairs.push([control.name, control.value]);
    });
    return pairs;
  }
  function isMeta(name) {
    return name.indexOf(":_") >= 0;
  }
  function isBlank(pairs) {
    return !pairs.some(function (pair) {
      return !isMeta(pair[0]) && pair[0].slice(-4) !== ".key" && pair[1].trim() !== "";
    });
  }
  /* A report that was sent may have arrived although its answer was lost. What is changed after that is another report, and the
     server says that there are two. */
  function renewIdIfChanged(fieldset, before, pairs) {
    function told(list) {
      return JSON.stringify(list.filter(function (pair) {
        return !isMeta(pair[0]) || pair[0].indexOf(":_reason.") >= 0;
      }));
    }
    if (!before || !before.tried || told(before.pairs) === told(pairs)) return before ? Boolean(before.tried) : false;
    var hex = newId();
    var id = [hex.slice(0, 8), hex.slice(8, 12), "4" + hex.slice(13, 16), "8" + hex.slice(17, 20), hex.slice(20)].join("-");
    pairs.forEach(function (pair) {
      if (pair[0].slice(-15) === ":_submission_id") pair[1] = id;
    });
    all("input[type=hidden]", fieldset).forEach(function (input) {
      if (input.name.slice(-15) === ":_submission_id") input.value = id;
    });
    return false;
  }
  function save(fieldset, queued) {
    var task = fieldset.getAttribute("data-task");
    var pairs = pairsOf(fieldset);
    var before = readDraft(task);
    if (isBlank(pairs) && !queued) {
      if (before) {
        if (storage) storage.removeItem(draftKey(task));
        showDraft(fieldset, null);
      }
      return null;
    }
    var draft = {
      task: task,
      title: fieldset.getAttribute("data-title"),
      version: fieldset.getAttribute("data-version"),
      tried: renewIdIfChanged(fieldset, before, pairs),
      pairs: pairs,
      queued: Boolean(queued),
      at: Date.now()
    };
    draft.kept = writeDraft(draft);
    showDraft(fieldset, draft);
    return draft;
  }
  function saveTyped() {
    clearTimeout(saveTimer);
    if (typedIn && !sending) save(typedIn);
    typedIn = null;
  }
  function showDraft(fieldset, draft) {
    var note = fieldset.querySelector("[data-draft]");
    if (!note) return;
    note.hidden = !draft;
    if (!draft) return;
    note.textContent = draft.kept === false
      ? "还没有发出。这部手机不让保存草稿，请填完就发，不要关掉本页。"
      : "还没有发出，已存在这部手机上。";
  }
  function restore(fieldset) {
    if (fieldset.hasAttribute("data-answered")) return save(fieldset); // what was sent stands in it, and what is wrong with it
    var draft = readDraft(fieldset.getAttribute("data-task"));
    if (!draft) return;
    var byName = {};
    draft.pairs.forEach(function (pair) {
      (byName[pair[0]] = byName[pair[0]] || []).push(pair[1]);
    });
    addRowsFor(fieldset, Object.keys(byName));
    addPicturesOf(fieldset, byName);
    controls(fieldset).forEach(function (control) {
      var values = byName[control.name] || [];
      if (control.type === "checkbox" || control.type === "radio") control.checked = values.indexOf(control.value) >= 0;
      else if (control.tagName === "SELECT")
        all("option", control).forEach(function (option) {
          option.selected = values.indexOf(option.value) >= 0;
        });
      else if (values.length) control.value = values[0];
    });
    var details = fieldset.closest("details");
    if (details) details.open = true;
    showDraft(fieldset, draft);
  }

  /* ---- rows of tables ------------------------------------------------------------------------------------------------ */

  function replaceLast(text, before, after) {
    var at = text.lastIndexOf(before);
    return at < 0 ? text : text.slice(0, at) + after + text.slice(at + before.length);
  }
  function addRow(table) {
    var rows = all("[data-row]", table);
    if (!rows.length) return;
    var last = rows[rows.length - 1];
    var before = Number(last.getAttribute("data-row"));
    var after = before + 1;
    var row = last.cloneNode(true);
    row.setAttribute("data-row", String(after));
    row.setAttribute("aria-label", "第 " + (after + 1) + " 行");
    row.querySelector(".row-name").textContent = "第 " + (after + 1) + " 行";
    all("*", row).forEach(function (part) {
      ["id", "for", "name", "aria-describedby"].forEach(function (attribute) {
        var value = part.getAttribute(attribute);
        var dash = attribute === "name" ? "." : "-";
        if (value) part.setAttribute(attribute, replaceLast(value, dash + before + dash, dash + after + dash));
      });
      part.removeAttribute("aria-invalid");
      if (part.className === "fault") part.textContent = "";
    });
    all(".fault", row).forEach(function (fault) {
      fault.parentNode.removeChild(fault);
    });
    controls(row).forEach(function (control) {
      if (control.type === "checkbox" || control.type === "radio") control.checked = false;
      else control.value = "";
    });
    last.parentNode.insertBefore(row, last.nextSibling);
    return row;
  }
  function addRowsFor(fieldset, names) {
    all("[data-table]", fieldset).forEach(function (table) {
      if (!table.querySelector("[data-add-row]")) return;
      var start = table.getAttribute("data-table") + ".";
      var most = -1;
      names.forEach(function (name) {
        if (name.indexOf(start) === 0) most = Math.max(most, parseInt(name.slice(start.length), 10));
      });
      while (all("[data-row]", table).length <= most) if (!addRow(table)) return;
    });
  }

  /* ---- pictures: made small, kept on the phone, sent one by one ------------------------------------------------------- */

  var kept = {}; // pictures of this visit, where the phone has no database for them
  function pictureStore(mode, work) {
    return new Promise(function (resolve) {
      if (!window.indexedDB) return resolve(null);
      var opening;
      try {
        opening = indexedDB.open("fanzha-r", 1);
      } catch (error) {
        return resolve(null);
      }
      opening.onupgradeneeded = function () {
        opening.result.createObjectStore("pictures", { keyPath: "id" });
      };
      opening.onerror = opening.onblocked = function () {
        resolve(null);
      };
      opening.onsuccess = function () {
        var database = opening.result;
        var result = null;
        try {
          var transaction = database.transaction("pictures", mode);
          var request = work(transaction.objectStore("pictures"));
          if (request)
            request.onsuccess = function () {
              result = request.result;
            };
          transaction.oncomplete = transaction.onabort = transaction.onerror = function () {
            database.close();
            resolve(result);
          };
        } catch (error) {
          database.close();
          resolve(null);
        }
      };
    });
  }
  function keepPicture(picture) {
    kept[picture.id] = picture;
    return pictureStore("readwrite", function (store) {
      return store.put({ id: picture.id, task: picture.task, name: picture.name, blob: picture.blob, at: picture.at });
    });
  }
  function forgetPicture(id) {
    delete kept[id];
    return pictureStore("readwrite", function (store) {
      return store.delete(id);
    });
  }
  function picturesKept() {
    return pictureStore("readonly", function (store) {
      return store.getAll ? store.getAll() : null;
    }).then(function (rows) {
      (rows || []).forEach(function (row) {
        if (Date.now() - row.at > KEEP_DRAFT_MS) forgetPicture(row.id);
        else if (!kept[row.id]) kept[row.id] = row;
      });
      return Object.keys(kept).map(function (id) {
        return kept[id];
      });
    });
  }
  function forgetPictures(task) {
    picturesKept().then(function (pictures) {
      pictures.forEach(function (picture) {
        if (picture.task === task && !uploads[picture.id]) forgetPicture(picture.id);
      });
    });
  }

  function smaller(file) {
    return new Promise(function (resolve) {
      var url = URL.createObjectURL(file);
      var image = new Image();
      function asItIs() {
        URL.revokeObjectURL(url);
        resolve(file); // such as HEIC, which this browser cannot open: the server can
      }
      image.onerror = asItIs;
      image.onload = function () {
        var scale = Math.min(1, PICTURE_MAX_PX / Math.max(image.naturalWidth, image.naturalHeight));
        var canvas = document.createElement("canvas");
        canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
        canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
        try {
          canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
          canvas.toBlob(
            function (blob) {
              URL.revokeObjectURL(url);
              resolve(blob && blob.size < file.size ? blob : file);
            },
            "image/jpeg",
            0.85
          );
        } catch (error) {
          asItIs();
        }
      };
      image.src = url;
    });
  }
  function boxOf(name) {
    return all("[data-pictures]").filter(function (box) {
      return box.getAttribute("data-pictures") === name;
    })[0];
  }
  function showUp(box, pictureId, url) {
    var item = el("li");
    var label = el("label", "option");
    var tick = el("input");
    tick.type = "checkbox";
    tick.name = box.getAttribute("data-pictures");
    tick.value = pictureId;
    tick.checked = true;
    var image = el("img");
    image.alt = "照片";
    image.src = url || "/r/pictures/" + pictureId + "?unit=" + encodeURIComponent(place()) + "&size=thumbnail";
    label.appendChild(tick);
    label.appendChild(image);
    label.appendChild(document.createTextNode(" 保留"));
    item.appendChild(label);
    box.querySelector("ul").appendChild(item);
    return item;
  }
  function addPicturesOf(fieldset, byName) {
    all("[data-pictures]", fieldset).forEach(function (box) {
      (byName[box.getAttribute("data-pictures")] || []).forEach(function (id) {
        if (!all("input[type=checkbox]", box).some(function (tick) {
          return tick.value === id;
        })) showUp(box, id);
      });
    });
  }
  function itemOf(picture) {
    var found = document.getElementById("p-" + picture.id);
    var box = boxOf(picture.name);
    if (found || !box) return found;
    found = el("li");
    found.id = "p-" + picture.id;
    var image = el("img");
    image.alt = "";
    try {
      image.src = URL.createObjectURL(picture.blob);
    } catch (error) {
      /* nothing to see */
    }
    found.appendChild(image);
    found.appendChild(el("span", "state"));
    box.querySelector("ul").appendChild(found);
    return found;
  }
  function sayOf(picture, text, failed) {
    var item = itemOf(picture);
    if (!item) return;
    item.className = failed ? "failed" : "";
    item.querySelector(".state").textContent = text;
    all("button", item).forEach(function (button) {
      button.parentNode.removeChild(button);
    });
    if (!failed) return;
    item.appendChild(
      plainButton("再传一次", function () {
        upload(picture);
      })
    );
    item.appendChild(
      plainButton("不要了", function () {
        forgetPicture(picture.id);
        item.parentNode.removeChild(item);
      })
    );
  }
  function upload(picture) {
    if (uploads[picture.id]) return uploads[picture.id];
    sayOf(picture, "正在上传…");
    var data = new FormData();
    data.append("form_token", formToken());
    data.append("unit", place());
    data.append("picture", picture.blob, "picture");
    uploads[picture.id] = ask("/r/pictures", { method: "POST", body: data, headers: { Accept: "application/json" } }, UPLOAD_WITHIN_MS)
      .then(function (response) {
        return response.json().then(function (answer) {
          return { ok: response.ok, status: response.status, answer: answer };
        });
      })
      .then(
        function (told) {
          if (!told.ok || !told.answer.picture_id) {
            sayOf(picture, "没有传上：" + (told.answer.detail || told.answer.title || "请再试一次"), true);
            return false;
          }
          var item = itemOf(picture);
          var box = boxOf(picture.name);
          if (box) {
            var shown = item && item.querySelector("img");
            showUp(box, told.answer.picture_id, shown && shown.src);
            if (item) item.parentNode.removeChild(item);
            var draft = readDraft(box.closest("[data-task]").getAttribute("data-task"));
            save(box.closest("[data-task]"), draft && draft.queued);
          }
          forgetPicture(picture.id);
          return true;
        },
        function () {
          sayOf(picture, "没有传上：线路不通。照片已存在这部手机上。", true);
          return false;
        }
      )
      .then(function (up) {
        delete uploads[picture.id];
        return up;
      });
    return uploads[picture.id];
  }
  function choosePictures(input) {
    var box = input.closest("[data-pictures]");
    var fieldset = box.closest("[data-task]");
    var files = Array.prototype.slice.call(input.files || []);
    var room = Number(box.getAttribute("data-most")) - all("li", box).length;
    input.value = "";
    if (files.length > room) say("最多 " + box.getAttribute("data-most") + " 张照片，多出的没有加上。");
    files.slice(0, Math.max(0, room)).reduce(function (before, file) {
      return before.then(function () {
        return smaller(file).then(function (blob) {
          var picture = {
            id: newId(),
            task: place() + "|" + fieldset.getAttribute("data-task"),
            name: box.getAttribute("data-pictures"),
            blob: blob,
            at: Date.now()
          };
          return keepPicture(picture).then(function () {
            return upload(picture); // one by one: a slow line carries one better than nine
          });
        });
      });
    }, Promise.resolve());
  }
  function showKeptPictures(sendThem) {
    picturesKept().then(function (pictures) {
      sayLeftBehind(pictures);
      pictures.forEach(function (picture) {
        if (picture.task.indexOf(place() + "|") !== 0 || uploads[picture.id] || !boxOf(picture.name)) return;
        if (sendThem) upload(picture);
        else sayOf(picture, "没有传上。照片已存在这部手机上。", true);
      });
    });
  }

  /* Pictures of reports that are in: these are not lost with the draft, and can be added as a correction. */
  function sayLeftBehind(pictures) {
    var tasks = pictures
      .filter(function (picture) {
        return picture.task.indexOf(place() + "|") === 0 && !boxOf(picture.name) && !uploads[picture.id];
      })
      .map(function (picture) {
        return picture.task.slice(place().length + 1);
      });
    all("[data-left-behind]").forEach(function (note) {
      note.parentNode.removeChild(note);
    });
    tasks
      .filter(function (task, n) {
        return tasks.indexOf(task) === n;
      })
      .forEach(function (task) {
        var note = el("p", "draft", "报表已收到，有照片没有传上，还存在这部手机上。");
        note.setAttribute("data-left-behind", "");
        note.appendChild(plainButton("补照片", function () {
          location.href = "/r?unit=" + encodeURIComponent(place()) + "&correct=" + encodeURIComponent(task);
        }));
        note.appendChild(plainButton("不要了", function () {
          forgetPictures(place() + "|" + task);
          note.parentNode.removeChild(note);
        }));
        document.getElementById("line").parentNode.insertBefore(note, document.getElementById("line").nextSibling);
      });
  }

  /* ---- sending ------------------------------------------------------------------------------------------------------- */

  function newId() {
    var bytes = new Uint8Array(16);
    if (window.crypto && crypto.getRandomValues) crypto.getRandomValues(bytes);
    else for (var n = 0; n < 16; n++) bytes[n] = Math.floor(Math.random() * 256);
    return Array.prototype.map
      .call(bytes, function (byte) {
        return (byte + 256).toString(16).slice(1);
      })
      .join("");
  }
  function formToken() {
    var field = document.querySelector('input[name="form_token"]');
    return field ? field.value : "";
  }
  function ask(url, options, withinMs) {
    options.credentials = "same-origin";
    var stop = window.AbortController ? new AbortController() : null;
    if (stop) options.signal = stop.signal;
    return new Promise(function (resolve, reject) {
      var late = setTimeout(function () {
        reject(new Error("late"));
        if (stop) stop.abort();
      }, withinMs);
      fetch(url, options).then(
        function (response) {
          clearTimeout(late);
          resolve(response);
        },
        function (error) {
          clearTimeout(late);
          reject(error);
        }
      );
    });
  }
  function say(text, action) {
    var line = document.getElementById("line");
    if (!line || (text === said && line.textContent)) return;
    said = text;
    line.textContent = "";
    if (!text) return;
    line.appendChild(el("p", "", text));
    if (action) line.appendChild(action);
  }
  /* `tasks`: the reports on their way, which nobody changes meanwhile. */
  function busy(text, tasks) {
    all("[data-task]").forEach(function (fieldset) {
      fieldset.disabled = Boolean(text) && (tasks || []).indexOf(fieldset.getAttribute("data-task")) >= 0;
    });
    all("[data-send]").forEach(function (button) {
      if (!button.getAttribute("data-text")) button.setAttribute("data-text", button.textContent);
      button.disabled = Boolean(text);
      button.textContent = text || button.getAttribute("data-text");
    });
  }

  function taskOf(draft) {
    return draft.task;
  }
  function submit(form) {
    if (sending) return; // the second tap
    var queued = [];
    var nowhere = false;
    all("[data-task]", form).forEach(function (fieldset) {
      var pairs = pairsOf(fieldset);
      if (isBlank(pairs)) return;
      var draft = save(fieldset, true);
      queued.push(draft);
      nowhere = nowhere || draft.kept === false;
    });
    if (!queued.length) {
      say("还没有填。没有的请填 0。");
      window.scrollTo(0, 0);
      return;
    }
    sending = true;
    busy("正在发出…", queued.map(taskOf));
    var waiting = Object.keys(uploads).map(function (id) {
      return uploads[id];
    });
    if (waiting.length) say("正在等照片传完…");
    Promise.race([
      Promise.all(waiting),
      new Promise(function (resolve) {
        setTimeout(resolve, WAIT_FOR_PICTURES_MS);
      })
    ]).then(function () {
      if (waiting.length)
        all("[data-task]", form).forEach(function (fieldset) {
          if (!isBlank(pairsOf(fieldset))) save(fieldset, true);
        });
      sending = false;
      send(nowhere ? queued : null);
    });
  }
  /* Sends the drafts whose button was pressed. `given`: where the phone keeps no drafts. */
  function send(given) {
    var queued = given || drafts().filter(function (draft) {
      return draft.queued;
    });
    if (sending || !queued.length || !place()) return;
    sending = true;
    clearTimeout(timer);
    busy("正在发出…", queued.map(taskOf));
    var body = new URLSearchParams();
    body.append("form_token", formToken());
    body.append("unit", place());
    queued.forEach(function (draft) {
      draft.tried = true;
      writeDraft(draft);
      draft.pairs.forEach(function (pair) {
        body.append(pair[0], pair[1]);
      });
    });
    var options = {
      method: "POST",
      body: body.toString(),
      headers: { "Content-Type": "application/x-www-form-urlencoded", Accept: "text/html" }
    };
    ask("/r/reports", options, ANSWER_WITHIN_MS)
      .then(function (response) {
        return response.text().then(function (text) {
          return { status: response.status, page: new DOMParser().parseFromString(text, "text/html") };
        });
      })
      .then(
        function (told) {
          sending = false;
          answered(told.status, told.page, queued, given);
        },
        function () {
          sending = false;
          unsent("没有网络或线路不通", given);
        }
      );
  }
  function answered(status, page, queued, given) {
    var shown = page.getElementById("r");
    if (!shown && (status >= 500 || status === 429 || status < 300)) return unsent("系统正忙", given); // 2xx: a page of somebody else's
    if (!shown) {
      busy("");
      var title = page.querySelector("h1");
      say("还没有发出：" + (title ? title.textContent : "请重新打开本页"), plainButton("重新打开本页", function () {
        location.href = "/r?unit=" + encodeURIComponent(place());
      }));
      return;
    }
    retries = 0;
    saveTyped();
    var received = (shown.getAttribute("data-received") || "").split(" ");
    queued.forEach(function (draft) {
      var id = draft.pairs.filter(function (pair) {
        return pair[0] === draft.task + ":_submission_id";
      })[0];
      if (id && received.indexOf(id[1]) >= 0) dropDraft(draft.task);
      else {
        draft.queued = false; // to be corrected by a person first
        writeDraft(draft);
      }
    });
    root().parentNode.replaceChild(document.importNode(shown, true), root());
    begin();
    var first = document.getElementById("faults") || document.getElementById("received");
    if (first) {
      first.focus();
      first.scrollIntoView();
    }
  }
  function unsent(why, given) {
    busy("");
    say(
      "还没有发出：" + why + "。" + (given ? "请不要关掉本页。" : "填的内容已存在这部手机上，有网后会自动发出。"),
      plainButton("现在再试", function () {
        said = "";
        send(given);
      })
    );
    timer = setTimeout(function () {
      send(given);
    }, RETRY_MS[Math.min(retries++, RETRY_MS.length - 1)]);
  }

  /* ---- the page ------------------------------------------------------------------------------------------------------ */

  function showForgottenDrafts() {
    drafts().forEach(function (draft) {
      if (draft.queued || all("[data-task]").some(function (fieldset) {
        return fieldset.getAttribute("data-task") === draft.task;
      })) return;
      var note = el("p", "draft", "这部手机上还有一份没有发出的草稿：" + draft.title + "。它已经不在要报的里面。");
      note.appendChild(plainButton("删掉草稿", function () {
        dropDraft(draft.task);
        forgetPictures(place() + "|" + draft.task);
        note.parentNode.removeChild(note);
      }));
      document.getElementById("line").parentNode.insertBefore(note, document.getElementById("line"));
    });
  }
  function saySaved() {
    var made = Date.parse(root().getAttribute("data-made-at") || "");
    if (!root().hasAttribute("data-kept")) return; // the service worker says so of the page that it has kept
    var at = new Date(made);
    say("没有网络：这是 " + (at.getMonth() + 1) + "月" + at.getDate() + "日 " + ("0" + at.getHours()).slice(-2) + ":" + ("0" + at.getMinutes()).slice(-2) + " 存在手机上的页面，可以照常填写，有网后发出。");
  }
  function halfWidth(input) {
    var mended = input.value.normalize ? input.value.normalize("NFKC").trim() : input.value.trim();
    if (mended !== input.value) input.value = mended;
  }
  function useCode() {
    var code = decodeURIComponent(location.hash.slice(1)).trim();
    var input = document.getElementById("code");
    if (!code || !input || input.value) return;
    history.replaceState(null, "", location.pathname + location.search); // the code is not kept in the history
    input.value = code.slice(0, 40);
    bind(input.form);
  }
  function bind(form) {
    var button = form.querySelector("button");
    var note = document.getElementById("code-error");
    function wrong(text) {
      button.disabled = false;
      note.hidden = false;
      note.textContent = text;
      form.elements.code.focus();
    }
    button.disabled = true;
    ask(
      "/r/devices",
      {
        method: "POST",
        body: JSON.stringify({ code: form.elements.code.value }),
        headers: { "Content-Type": "application/json", Accept: "application/json" }
      },
      ANSWER_WITHIN_MS
    )
      .then(function (response) {
        return response.json().then(function (answer) {
          if (response.ok)
            location.replace("/r?unit=" + encodeURIComponent(answer.campaign_id + "/" + answer.unit_code));
          else wrong([answer.title, answer.detail].filter(Boolean).join("。") || "请再试一次");
        });
      })
      .catch(function () {
        wrong("没有网络或线路不通，请再试一次");
      });
  }
  /* Makes the page that is shown now work: at first, and after an answer took its place. */
  function begin() {
    said = "";
    if (root().hasAttribute("data-code")) return useCode();
    var received = (root().getAttribute("data-received") || "").split(" ");
    drafts().forEach(function (draft) {
      var id = draft.pairs.filter(function (pair) {
        return pair[0].slice(-15) === ":_submission_id";
      })[0];
      if (id && received.indexOf(id[1]) >= 0) dropDraft(draft.task);
    });
    all("[data-task]").forEach(restore);
    showForgottenDrafts();
    showKeptPictures(false);
    saySaved();
    busy("");
  }

  if (!root() || !window.Promise || !window.fetch || !window.URLSearchParams || !Element.prototype.closest) return;
  document.documentElement.className = "with-script";
  document.addEventListener("submit", function (event) {
    if (root().hasAttribute("data-code")) {
      event.preventDefault();
      bind(event.target);
      return;
    }
    if (event.target.getAttribute("action") !== "/r/reports") return;
    event.preventDefault();
    submit(event.target);
  });
  document.addEventListener("click", function (event) {
    var button = event.target.closest ? event.target.closest("[data-add-row]") : null;
    if (!button) return;
    event.preventDefault();
    var row = addRow(button.closest("[data-table]"));
    var first = row && controls(row)[0];
    if (first) first.focus();
  });
  document.addEventListener("input", function (event) {
    var fieldset = event.target.closest("[data-task]");
    if (!fieldset || event.target.type === "file") return;
    clearTimeout(saveTimer);
    typedIn = fieldset;
    saveTimer = setTimeout(saveTyped, 200);
  });
  document.addEventListener("change", function (event) {
    var target = event.target;
    if (target.type === "file") return choosePictures(target);
    if (target.inputMode === "numeric" || target.inputMode === "decimal") halfWidth(target);
    var fieldset = target.closest("[data-task]");
    if (!fieldset) return;
    typedIn = fieldset;
    saveTyped();
  });
  document.addEventListener("keydown", function (event) {
    var input = event.target;
    if (event.key !== "Enter" || input.tagName !== "INPUT" || !input.closest("[data-task]")) return;
    event.preventDefault(); // the keypad's key goes on to the next number, and sends nothing half filled in
    var inputs = all("input, select, textarea, [data-send]", input.form).filter(function (control) {
      return control.type !== "hidden" && control.offsetParent;
    });
    var next = inputs[inputs.indexOf(input) + 1];
    if (next) next.focus();
  });
  window.addEventListener("pagehide", saveTyped);
  window.addEventListener("online", function () {
    retries = 0;
    send();
    showKeptPictures(true);
  });
  document.addEventListener("visibilitychange", function () {
    if (!document.hidden) send();
  });
  forgetOldDrafts();
  begin();
  send(); // what was left when the app was closed
  if (navigator.serviceWorker && root().hasAttribute("data-place"))
    navigator.serviceWorker.register("/r/worker.js", { scope: "/r" }).catch(function () {
      /* such as inside WeChat: the page then needs the line, drafts do not */
    });
})();
