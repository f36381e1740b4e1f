// An element to draw digits on, and what stroke_ink, mnist_form and MLP do in Python. 13_draw.ipynb explains it.
customElements.get("draw-digit") || customElements.define("draw-digit", class extends HTMLElement {

  // A safetensors file: 8 bytes with the length of the header, the header in JSON, the numbers.
  static readLayers(base64) {
    const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0)).buffer;
    const start = 8 + Number(new DataView(bytes).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.slice(8, start)));
    const tensor = name => new Float32Array(bytes.slice(...header[name].data_offsets.map(offset => start + offset)));
    return Object.keys(header).filter(name => name.endsWith(".weight")).map(name => parseInt(name)).sort((a, b) => a - b)
      .map(i => ({ weight: tensor(`${i}.weight`), bias: tensor(`${i}.bias`) }));
  }

  // Each output is its bias and the sum of weights times inputs; ReLU after all layers but the last; softmax at the end.
  static probabilities(layers, x) {
    layers.forEach(({ weight, bias }, layer) => {
      const inputs = x;
      x = Float64Array.from(bias, (sum, row) => {
        for (let i = 0; i < inputs.length; i++) sum += weight[row * inputs.length + i] * inputs[i];
        return layer < layers.length - 1 ? Math.max(sum, 0) : sum;
      });
    });
    const highest = Math.max(...x), exps = x.map(score => Math.exp(score - highest));
    const total = exps.reduce((sum, value) => sum + value);
    return Array.from(exps, value => value / total);
  }

  // Strokes, lists of [x, y], as rows of ink from 0 to 1: the distance from each pixel to the nearest line decides.
  static strokeInk(strokes) {
    const side = 64, pen = 5.25, margin = 6;
    const points = strokes.flat(), range = axis => points.map(point => point[axis]);
    const low = [0, 1].map(axis => range(axis).reduce((a, b) => Math.min(a, b)));
    const size = [0, 1].map(axis => range(axis).reduce((a, b) => Math.max(a, b)) - low[axis]);
    const scale = Math.max(...size) > 0 ? side / Math.max(...size) : 1;
    const [width, height] = size.map(length => Math.ceil(length * scale) + 2 * margin);
    const ink = Array.from({ length: height }, () => new Float64Array(width));
    for (const stroke of strokes) {
      const placed = stroke.map(point => point.map((value, axis) => (value - low[axis]) * scale + margin));
      for (let i = 0; i < Math.max(placed.length - 1, 1); i++) {
        const [x, y] = placed[i], [endX, endY] = placed[Math.min(i + 1, placed.length - 1)];
        const dx = endX - x, dy = endY - y, squared = dx * dx + dy * dy;
        const top = Math.max(Math.floor(Math.min(y, endY)) - margin, 0);
        const left = Math.max(Math.floor(Math.min(x, endX)) - margin, 0);
        const bottom = Math.min(Math.ceil(Math.max(y, endY)) + margin, height);
        const right = Math.min(Math.ceil(Math.max(x, endX)) + margin, width);
        for (let row = top; row < bottom; row++) {
          const pixels = ink[row], py = row + 0.5 - y;
          for (let column = left; column < right; column++) {
            if (pixels[column] === 1) continue; // no more ink can be added
            const px = column + 0.5 - x;
            const along = squared > 0 ? Math.min(Math.max((px * dx + py * dy) / squared, 0), 1) : 0;
            const distance = Math.sqrt((px - along * dx) ** 2 + (py - along * dy) ** 2);
            const covered = pen + 0.5 - distance;
            if (covered > pixels[column]) pixels[column] = Math.min(covered, 1);
          }
        }
      }
    }
    return ink;
  }

  // Rows of ink as 784 numbers: longer side 20 pixels, centre of mass in pixel (14, 14), darkest point 255/256.
  static mnistForm(ink) {
    const dot = (a, b) => { let sum = 0; for (let i = 0; i < a.length; i++) sum += a[i] * b[i]; return sum; };
    const columns = Float64Array.from(ink[0], () => 0);
    for (const row of ink) row.forEach((value, column) => columns[column] += value);
    const [down, across] = [Float64Array.from(ink, row => row.reduce((a, b) => a + b)), columns].map(profile => {
      const used = value => value > 0, first = profile.findIndex(used), stop = profile.findLastIndex(used) + 1;
      return { first, stop, profile: profile.slice(first, stop) };
    });
    const scale = 20 / Math.max(down.profile.length, across.profile.length);
    for (const axis of [down, across]) {
      const total = axis.profile.reduce((a, b) => a + b), middles = axis.profile.map((_, i) => i + 0.5);
      const centre = scale * dot(axis.profile, middles) / total;
      const start = Math.min(Math.max(Math.ceil(14 - centre - 1e-9), 0), Math.floor(28 - scale * middles.length + 1e-9));
      axis.shares = Array.from({ length: 28 }, (_, pixel) => middles.map((_, i) => // how much of `pixel` each piece covers
        Math.max(Math.min(start + scale * (i + 1), pixel + 1) - Math.max(start + scale * i, pixel), 0)));
    }
    const boxed = ink.slice(down.first, down.stop).map(row => row.subarray(across.first, across.stop));
    const narrow = across.shares.map(shares => Float64Array.from(boxed, row => dot(shares, row))); // 28 columns
    const form = down.shares.flatMap(shares => narrow.map(column => dot(shares, column)));
    const darkest = Math.max(...form);
    return Float32Array.from(form, value => value * (255 / 256 / darkest));
  }

  connectedCallback() {
    if (this.shadowRoot) return;
    this.layers = this.constructor.readLayers(this.dataset.weights);
    this.attachShadow({ mode: "open" }).innerHTML = `
      <style>
        :host { display: block; margin: 1em 0; line-height: 1.4; }
        .columns, .reading { display: flex; flex-wrap: wrap; gap: .6em 1.5em; align-items: start; }
        .answer { flex: 1 1 16em; }
        canvas { display: block; border-radius: 4px; box-sizing: border-box; }
        .paper { width: 280px; height: 280px; background: #fff; border: 1px solid #767676; touch-action: none; cursor: crosshair; }
        .sees { width: 112px; height: 112px; image-rendering: pixelated; background: #000; }
        .buttons { display: flex; flex-wrap: wrap; gap: .5em; margin: .6em 0; }
        button { font: inherit; color: inherit; background: none; border: 1px solid #767676; border-radius: 4px; padding: .2em .8em;
                 cursor: pointer; }
        button:has(canvas) { padding: 3px; }
        button canvas { width: 42px; height: 42px; background: #000; }
        :focus-visible { outline: 3px solid #3b82c4; outline-offset: 2px; }
        ul { flex: 1 1 10em; max-width: 17em; list-style: none; margin: 0; padding: 0; font-variant-numeric: tabular-nums; }
        li { display: grid; grid-template-columns: 1em 1fr 4.2em; gap: .5em; align-items: center; line-height: 1.35; }
        li span:last-child { text-align: right; white-space: nowrap; }
        .bar { height: .8em; border-radius: 2px; background: #3b82c4; opacity: .6; }
        .highest { font-weight: bold; }
        .highest .bar { opacity: 1; }
        p { margin: 0 0 .4em; }
        #keys { margin-top: .8em; }
        .small { font-size: .85em; max-width: 34em; }
        [role=status] { font-size: 1.2em; line-height: 1.2; min-height: 2.2em; }
        [role=status] b { font-size: 2em; line-height: 1; }
      </style>
      <div class="columns">
        <div>
          <canvas class="paper" width="560" height="560" tabindex="0" role="application" aria-describedby="keys"
            aria-label="Paper to draw a digit on"></canvas>
          <div class="buttons"><button class="undo">Undo</button><button class="clear">Clear</button></div>
        </div>
        <div class="answer">
          <p role="status"></p>
          <div class="reading">
            <ul aria-label="Probability of each digit"></ul>
            <div>
              <canvas class="sees" width="28" height="28" role="img" aria-label="28 by 28 pixels"></canvas>
              <span class="small">What it sees</span>
            </div>
          </div>
        </div>
      </div>
      <p class="small" id="keys">Draw with a mouse, a finger or a pen. On the keyboard, the arrow keys move the pen, and the space
        bar puts it down and lifts it.</p>
      <p class="small">Or try digits of the test set:</p>
      <div class="buttons examples"></div>`;
    const find = selector => this.shadowRoot.querySelector(selector);
    [this.paper, this.sees, this.status] = [".paper", ".sees", "[role=status]"].map(find);
    this.bars = Array.from({ length: 10 }, (_, digit) => {
      const item = find("ul").appendChild(document.createElement("li"));
      item.innerHTML = `<span>${digit}</span><span class="bar"></span><span></span>`;
      return item;
    });
    for (const { label, pixels } of JSON.parse(this.dataset.examples)) {
      const example = { label, form: Float32Array.from(atob(pixels), level => level.charCodeAt(0) / 256) };
      const button = find(".examples").appendChild(document.createElement("button"));
      button.setAttribute("aria-label", `Test digit ${label}`);
      const picture = button.appendChild(document.createElement("canvas"));
      picture.width = picture.height = 28;
      this.constructor.paint(picture, example.form);
      button.onclick = () => this.show([], example);
    }
    find(".undo").onclick = () => this.show(this.strokes.slice(0, -1));
    find(".clear").onclick = () => this.show([]);
    this.listen();
    this.pen = [0.5, 0.5];
    this.show([]);
  }

  listen() {
    let drawing = false; // the keyboard's pen is down when `this.penDown`
    const place = event => {
      const box = this.paper.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]
        .map(value => Math.min(Math.max(value, 0), 1));
    };
    const extend = points => { this.strokes.at(-1).push(...points); this.show(this.strokes); };
    this.paper.onpointerdown = event => {
      if (!event.isPrimary || event.button) return;
      this.paper.setPointerCapture(event.pointerId);
      drawing = true;
      this.penDown = false;
      this.show([...this.strokes, [place(event)]]);
    };
    this.paper.onpointermove = event => {
      if (!drawing || !event.isPrimary) return;
      const steps = event.getCoalescedEvents?.() ?? [];
      extend((steps.length ? steps : [event]).map(place));
    };
    this.paper.onlostpointercapture = event => { if (event.isPrimary) drawing = false; }; // it is lifted, or called off
    this.paper.onkeydown = event => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (step) {
        this.pen = this.pen.map((value, axis) => Math.min(Math.max(value + step[axis] / 28, 0), 1));
        if (this.penDown) extend([this.pen]);
      } else if (event.key === " ") {
        this.penDown = !this.penDown;
        if (this.penDown) this.show([...this.strokes, [this.pen]]);
      } else return;
      event.preventDefault(); // the page must not scroll
      this.draw();
    };
    this.paper.onfocus = this.paper.onblur = () => this.draw();
  }

  // The strokes (or an example of the test set), the picture, the probabilities and the answer.
  show(strokes, example) {
    if (strokes.length < (this.strokes ?? []).length) this.penDown = false;
    [this.strokes, this.example] = [strokes, example];
    const { strokeInk, mnistForm, probabilities, paint } = this.constructor;
    this.form = example ? example.form : strokes.length ? mnistForm(strokeInk(strokes)) : null;
    this.probabilities = this.form && probabilities(this.layers, this.form);
    paint(this.sees, this.form ?? new Float32Array(784));
    this.bars.forEach((item, digit) => {
      const share = this.probabilities?.[digit] ?? 0;
      item.children[1].style.width = `${100 * share}%`;
      item.className = this.form && share === Math.max(...this.probabilities) ? "highest" : "";
      item.children[2].textContent = this.form ? `${(100 * share).toFixed(1)} %` : "";
    });
    this.answer = this.form && this.probabilities.indexOf(Math.max(...this.probabilities));
    const text = this.form ? `The network reads ${this.answer}` : "Nothing is drawn yet";
    const said = example && example.label !== this.answer ? `${text}, and its label is ${example.label}` : text;
    if (this.status.textContent !== said) this.status.innerHTML = said.replace(/\d/, "<b>$&</b>"); // once for a screen reader
    this.draw();
  }

  draw() {
    const context = this.paper.getContext("2d"), side = this.paper.width;
    context.clearRect(0, 0, side, side);
    if (!this.form) {
      [context.font, context.textAlign, context.fillStyle] = [`${side / 16}px system-ui, sans-serif`, "center", "#6b6b6b"];
      context.fillText("Draw a digit here", side / 2, side / 2);
    }
    if (this.example) {
      const onPaper = document.createElement("canvas"); // dark on light: Safari has no filter that inverts
      onPaper.width = onPaper.height = 28;
      this.constructor.paint(onPaper, this.form.map(ink => 255 / 256 - ink));
      context.imageSmoothingEnabled = false;
      context.drawImage(onPaper, 0, 0, side, side);
    }
    [context.lineWidth, context.lineCap, context.lineJoin, context.strokeStyle] = [side / 14, "round", "round", "#111"];
    for (const stroke of this.strokes) {
      context.beginPath();
      for (const [x, y] of stroke.length > 1 ? stroke : [...stroke, ...stroke]) context.lineTo(x * side, y * side);
      context.stroke();
    }
    if (this.shadowRoot.activeElement !== this.paper || !this.paper.matches(":focus-visible")) return;
    [context.lineWidth, context.strokeStyle] = [4, this.penDown ? "#c2410c" : "#3b82c4"];
    context.beginPath();
    context.arc(this.pen[0] * side, this.pen[1] * side, side / 28, 0, 2 * Math.PI);
    context.stroke();
  }

  static paint(canvas, form) {
    const picture = new ImageData(28, 28);
    form.forEach((ink, i) => picture.data.set([256 * ink, 256 * ink, 256 * ink, 255], 4 * i));
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }
});
