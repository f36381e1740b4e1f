// Networks that train in the page, side by side. 11_batch_size.ipynb explains it; the arithmetic is that of 04_backprop.ipynb.
customElements.get("batch-playground") || customElements.define("batch-playground", class extends HTMLElement {

  // Whatever computes. It runs in a worker, which is made from the text of this function and of the next.
  static arithmetic() {

    // Numbers from 0 to 1 that follow from a seed: mulberry32, by Tommy Ettinger.
    const generator = seed => () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let mixed = Math.imul(seed ^ (seed >>> 15), seed | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };

    // Digits with 16 levels of grey, [N, 784]. Four pixels in five are 0: for each digit, the others are listed. Where their
    // number is odd, a pixel without ink follows: two at a time are done in little more than half the time.
    class Digits {
      constructor(levels, labels) {
        this.labels = labels;
        this.starts = new Uint32Array(labels.length + 1); // the list of digit n begins at starts[n]
        const pixels = [], inks = [];
        for (let n = 0; n < labels.length; n++) {
          for (let i = 0; i < 784; i++) {
            const level = levels[784 * n + i];
            if (level > 0) pixels.push(i);
            if (level > 0) inks.push(level * 17 / 256);
          }
          if (pixels.length % 2) pixels.push(0);
          if (inks.length % 2) inks.push(0);
          this.starts[n + 1] = pixels.length;
        }
        [this.pixels, this.inks] = [Uint16Array.from(pixels), Float64Array.from(inks)];
      }
    }

    const squares = numbers => numbers.reduce((sum, value) => sum + value * value, 0);

    // MLP(784, H, 10). The first weight lies here as [784, H], so that the numbers of a pixel are neighbours.
    class Network {
      constructor({ hidden, bs, lr, seed }, train, valid) {
        Object.assign(this, { H: hidden, bs, lr, train, valid, random: generator(seed + 1) });
        this.weight0 = new Float64Array(784 * hidden);
        [this.bias0, this.weight1, this.bias1] = [hidden, 10 * hidden, 10].map(size => new Float64Array(size));
        this.grads = [this.weight0, this.bias0, this.weight1, this.bias1].map(({ length }) => new Float64Array(length));
        this.touched = new Uint8Array(784); // the pixels of which the batch has ink
        [this.hidden, this.dHidden] = [new Float64Array(hidden), new Float64Array(hidden)];
        [this.logProbs, this.dScores] = [new Float64Array(10), new Float64Array(10)];
        this.start(generator(seed));
        [this.order, this.place] = [[], 0];
        [this.steps, this.rows, this.seconds] = [0, 0, 0];
        this.finite = true;
        this.news = { losses: [], rows: [], checks: [] }; // since the page was told
        this.validate();
      }

      // As Linear does: evenly from -1 / sqrt(inputs) to 1 / sqrt(inputs). Unit by unit, so that larger networks begin alike.
      start(random) {
        const drawn = inputs => (2 * random() - 1) / Math.sqrt(inputs);
        for (let j = 0; j < this.H; j++) {
          for (let i = 0; i < 784; i++) this.weight0[i * this.H + j] = drawn(784);
          this.bias0[j] = drawn(784);
        }
        this.weight1.forEach((_, i) => { this.weight1[i] = drawn(this.H); });
        this.bias1.forEach((_, c) => { this.bias1[c] = drawn(this.H); });
      }

      // The log-probabilities of one digit.
      forward({ starts, pixels, inks }, n) {
        const { H, weight0, weight1, hidden, logProbs } = this;
        hidden.set(this.bias0);
        for (let k = starts[n]; k < starts[n + 1]; k += 2) {
          const inkA = inks[k], inkB = inks[k + 1], a = pixels[k] * H, b = pixels[k + 1] * H;
          for (let j = 0; j < H; j++) hidden[j] += inkA * weight0[a + j] + inkB * weight0[b + j];
        }
        for (let j = 0; j < H; j++) hidden[j] = Math.max(hidden[j], 0);
        for (let c = 0; c < 10; c++) {
          let score = this.bias1[c];
          for (let j = 0; j < H; j++) score += hidden[j] * weight1[c * H + j];
          logProbs[c] = score;
        }
        const highest = Math.max(...logProbs);
        let total = 0;
        for (let c = 0; c < 10; c++) total += Math.exp(logProbs[c] - highest);
        const logsumexp = highest + Math.log(total);
        for (let c = 0; c < 10; c++) logProbs[c] -= logsumexp;
      }

      // Add the gradient of its share in the mean over N digits.
      backward({ starts, pixels, inks, labels }, n, N) {
        const { H, weight1, hidden, logProbs, dScores, dHidden } = this;
        const [grad0, gradBias0, grad1, gradBias1] = this.grads;
        dHidden.fill(0);
        for (let c = 0; c < 10; c++) {
          const d = dScores[c] = (Math.exp(logProbs[c]) - (c === labels[n])) / N; // softmax - one_hot
          gradBias1[c] += d;
          for (let j = 0; j < H; j++) {
            grad1[c * H + j] += d * hidden[j]; // d.T @ before
            dHidden[j] += d * weight1[c * H + j]; // d @ layer.weight
          }
        }
        for (let j = 0; j < H; j++) {
          if (hidden[j] === 0) dHidden[j] = 0; // d * after.sign()
          gradBias0[j] += dHidden[j];
        }
        for (let k = starts[n]; k < starts[n + 1]; k += 2) {
          const inkA = inks[k], inkB = inks[k + 1], a = pixels[k] * H, b = pixels[k + 1] * H;
          this.touched[pixels[k]] = this.touched[pixels[k + 1]] = 1;
          for (let j = 0; j < H; j++) { // d.T @ before
            grad0[a + j] += inkA * dHidden[j];
            grad0[b + j] += inkB * dHidden[j];
          }
        }
      }

      // Plain SGD. The gradients become 0 again. Where no digit of the batch had ink they still are.
      update() {
        const { H, lr, weight0, grads: [grad0] } = this;
        for (let i = 0; i < 784; i++) {
          if (!this.touched[i]) continue;
          for (let k = i * H; k < (i + 1) * H; k++) weight0[k] -= lr * grad0[k];
          grad0.fill(0, i * H, (i + 1) * H);
        }
        this.touched.fill(0);
        [this.bias0, this.weight1, this.bias1].forEach((parameter, p) => {
          const grad = this.grads[p + 1];
          for (let k = 0; k < grad.length; k++) parameter[k] -= lr * grad[k];
          grad.fill(0);
        });
      }

      // A new random order for each pass over the digits (Fisher and Yates).
      shuffled() {
        const order = Uint32Array.from(this.train.labels, (_, n) => n);
        for (let last = order.length - 1; last > 0; last--) {
          const other = Math.floor(this.random() * (last + 1));
          [order[last], order[other]] = [order[other], order[last]];
        }
        return order;
      }

      step() {
        if (this.place >= this.order.length) [this.order, this.place] = [this.shuffled(), 0];
        const batch = this.order.slice(this.place, this.place + this.bs), N = batch.length;
        let loss = 0;
        for (const n of batch) {
          this.forward(this.train, n);
          loss -= this.logProbs[this.train.labels[n]] / N;
          this.backward(this.train, n, N);
        }
        this.update();
        this.place += N;
        this.rows += N;
        this.steps += 1;
        this.finite = Number.isFinite(loss);
        this.news.losses.push(loss);
        this.news.rows.push(this.rows);
        return loss;
      }

      // The answers to the validation digits. The next check comes after 8 % more rows.
      validate() {
        let right = 0;
        this.answers = Uint8Array.from(this.valid.labels, (label, n) => {
          this.forward(this.valid, n);
          const answer = this.logProbs.indexOf(Math.max(...this.logProbs));
          right += answer === label;
          return answer;
        });
        this.accuracy = right / this.answers.length;
        this.nextCheck = this.rows + Math.min(Math.max(0.08 * this.rows, 200), 4000);
        const { steps, rows, seconds, accuracy } = this;
        this.news.checks.push({ steps, rows, seconds, accuracy });
      }

      // Steps over at least so many rows, timed together; the validation is not.
      advance(rows) {
        const began = performance.now(), goal = this.rows + rows;
        while (this.rows < goal && this.finite) this.step();
        this.seconds += (performance.now() - began) / 1000;
        if (this.rows >= this.nextCheck || !this.finite) this.validate();
      }

      // tr(Sigma) / |G|^2 over all training digits. A row's squared gradient in a layer is |d|^2 (|input|^2 + 1).
      noiseScale() {
        const { train, hidden, dScores, dHidden } = this, N = train.labels.length;
        let second = 0;
        for (let n = 0; n < N; n++) {
          this.forward(train, n);
          this.backward(train, n, N);
          const ink = train.inks.subarray(train.starts[n], train.starts[n + 1]);
          second += N * (squares(dScores) * (squares(hidden) + 1) + squares(dHidden) * (squares(ink) + 1));
        }
        const ofMean = this.grads.reduce((sum, grad) => sum + squares(grad), 0);
        for (const grad of this.grads) grad.fill(0);
        this.touched.fill(0);
        return (second - ofMean) / ofMean;
      }

      // The first weight as PyTorch has it: [units, 784].
      firstWeight(units) {
        return Float32Array.from({ length: units * 784 }, (_, k) => this.weight0[(k % 784) * this.H + Math.floor(k / 784)]);
      }
    }
    return { generator, Digits, Network };
  }

  // What the worker does with it: it obeys the page's messages, and trains for 30 ms between two reports.
  static work(arithmetic) {
    const { Digits, Network } = arithmetic();
    let train, valid, networks = new Map(), axis = "rows", looked = null, running = false, limit = 0, began = 0;
    let noise = {}, timer;
    const all = () => [...networks.values()], alive = () => all().filter(network => network.finite);
    const sum = numbers => numbers.reduce((a, b) => a + b, 0);
    const report = ended => {
      const progress = [...networks].map(([key, network]) => {
        const { news, steps, rows, seconds, accuracy, finite } = network;
        network.news = { losses: [], rows: [], checks: [] };
        return { key, news, steps, rows, seconds, accuracy, finite };
      });
      postMessage({ progress, ended });
      const network = networks.get(looked);
      const now = performance.now(), due = !running || noise.key !== looked || now > noise.until;
      if (network?.finite && due) {
        noise = { key: looked, scale: network.noiseScale() };
        noise.until = performance.now() + 2000 + 20 * (performance.now() - now); // a small part of the time
      }
      if (!network) return;
      const { answers, nextCheck, H } = network, scale = noise.key === looked ? noise.scale : NaN;
      const inside = { key: looked, answers, nextCheck, scale, weights: network.firstWeight(Math.min(H, 12)) };
      postMessage({ progress: [], inside });
    };
    // The first rows come slowly, to be watched: t seconds after the start there may be 1,000 t + 500 t^2 for each network.
    const allowed = () => { const t = (performance.now() - began) / 1000; return 1000 * t + 500 * t * t; };
    const seen = () => sum(all().map(network => network.rows)) / networks.size;
    const goOn = () => { began = performance.now() - 1000 * (Math.sqrt(1 + seen() / 500) - 1); };
    const slice = () => {
      const end = performance.now() + 30;
      while (running && performance.now() < end) {
        const behind = alive().reduce((a, b) => (b?.[axis] < a?.[axis] ? b : a), alive()[0]);
        running = Boolean(behind) && behind.rows < limit;
        if (!running || seen() > allowed()) break;
        behind.advance(axis === "steps" ? 1 : 100);
      }
      report(!running);
      if (running) timer = setTimeout(slice, 10);
    };
    const orders = {
      digits({ levels, labels, count }) {
        train = new Digits(levels.subarray(0, count * 784), labels.subarray(0, count));
        valid = new Digits(levels.subarray(count * 784), labels.subarray(count));
      },
      networks({ specs, x, look }) { // those with a known key go on; the others are new
        networks = new Map(specs.map(spec => [spec.key, networks.get(spec.key) ?? new Network(spec, train, valid)]));
        [axis, looked] = [x, look];
        goOn();
      },
      run({ passes }) {
        goOn();
        limit = Math.max(...all().map(network => network.rows)) + passes * train.labels.length;
        clearTimeout(timer);
        timer = setTimeout(slice);
        running = true;
      },
      pause() {
        clearTimeout(timer);
        running = false;
      },
      step() {
        for (const network of alive()) {
          const started = performance.now();
          network.step();
          network.seconds += (performance.now() - started) / 1000;
          network.validate();
        }
        noise = {};
      },
      weights({ key }) {
        const { H, bias0, weight1, bias1 } = networks.get(key), weight0 = networks.get(key).firstWeight(H);
        postMessage({ trained: { H, tensors: [weight0, bias0, weight1, bias1].map(tensor => Float32Array.from(tensor)) } });
      },
    };
    onmessage = ({ data }) => {
      orders[data.order](data);
      if (data.order !== "digits" && train) report();
    };
  }

  static batchSizes = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 4000];
  static rates = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10];
  static hiddenUnits = [2, 5, 10, 20, 50, 100, 200];
  static colours = { light: ["#1B6CA8", "#D9792B", "#3A8F5C", "#A23B72"], dark: ["#5AA7E0", "#F0A05E", "#6CC28C", "#DE83B2"] };

  // Settings from text such as "bs=10,500&lr=0.1&h=50&x=rows&seed=1", and a sentence for each value that had to be changed.
  static read(text, count) {
    const given = new URLSearchParams(text), changed = [];
    const numbers = (name, words, usual, low, high, whole) => (given.get(name) ?? String(usual)).split(",").map(value => {
      const number = value.trim() === "" ? NaN : Number(value);
      const closest = Number.isNaN(number) ? usual : Math.min(Math.max(whole ? Math.round(number) : number, low), high);
      if (closest !== number) changed.push(`The ${words} cannot be “${value}”: ${closest.toLocaleString("en")} is used.`);
      return closest;
    });
    const bs = numbers("bs", "batch size", Math.min(50, count), 1, count, true);
    const lr = numbers("lr", "learning rate", 0.1, 0.0001, 100, false);
    const h = numbers("h", "number of hidden units", 50, 1, 200, true);
    const [seed] = numbers("seed", "seed", 1, 0, 999999, true);
    const asked = Math.max(bs.length, lr.length, h.length), at = (list, i) => list[Math.min(i, list.length - 1)];
    if (asked > 4) changed.push(`There is room for four networks, and not for ${asked}.`);
    const axis = given.get("x") ?? "rows", x = ["rows", "steps", "seconds"].includes(axis) ? axis : "rows";
    if (x !== axis) changed.push(`The horizontal axis cannot be “${axis}”: rows are used.`);
    const networks = Array.from({ length: Math.min(asked, 4) }, (_, i) => ({ bs: at(bs, i), lr: at(lr, i), h: at(h, i) }));
    return { networks, x, seed, changed };
  }

  static write({ networks, x, seed }) {
    const list = name => {
      const values = networks.map(network => network[name]);
      return values.every(value => value === values[0]) && name !== "bs" ? values[0] : values.join(",");
    };
    return `bs=${list("bs")}&lr=${list("lr")}&h=${list("h")}&x=${x}&seed=${seed}`;
  }

  // A PNG with four bits a pixel and no filters as levels from 0 to 15. No canvas: some browsers alter what one reads from it.
  static async levels(uri) {
    const png = Uint8Array.from(atob(uri.split(",")[1]), letter => letter.charCodeAt(0)), view = new DataView(png.buffer);
    const [width, height] = [view.getUint32(16), view.getUint32(20)], packed = [];
    for (let place = 8; place < png.length; place += 12 + view.getUint32(place)) {
      const name = String.fromCharCode(...png.subarray(place + 4, place + 8));
      if (name === "IDAT") packed.push(png.subarray(place + 8, place + 8 + view.getUint32(place)));
    }
    const stream = new Blob(packed).stream().pipeThrough(new DecompressionStream("deflate"));
    const lines = new Uint8Array(await new Response(stream).arrayBuffer()), length = 1 + width / 2;
    const found = new Uint8Array(width * height);
    for (let i = 0; i < found.length; i += 2) {
      const pair = lines[Math.floor(i / width) * length + 1 + (i % width) / 2];
      [found[i], found[i + 1]] = [pair >> 4, pair & 15];
    }
    return found;
  }

  // A safetensors file in base64, which <draw-digit> reads.
  static safetensors({ H, tensors }) {
    const names = ["0.weight", "0.bias", "2.weight", "2.bias"], shapes = [[H, 784], [H], [10, H], [10]], header = {};
    let end = 0;
    names.forEach((name, i) => {
      header[name] = { dtype: "F32", shape: shapes[i], data_offsets: [end, end += tensors[i].byteLength] };
    });
    const text = new TextEncoder().encode(JSON.stringify(header)), length = new BigUint64Array([BigInt(text.length)]);
    const bytes = [length, text, ...tensors].flatMap(part => [...new Uint8Array(part.buffer, part.byteOffset, part.byteLength)]);
    return btoa(bytes.reduce((letters, byte) => letters + String.fromCharCode(byte), ""));
  }

  static owner = null; // of the page's address: the first playground

  async connectedCallback() {
    const Playground = this.constructor;
    Playground.owner ??= this;
    if (!this.shadowRoot) this.build();
    this.labels = Uint8Array.from(this.dataset.labels, Number);
    this.count = Number(this.dataset.train); // of training digits; the others are for validation
    this.find(".others").textContent = `on ${(this.labels.length - this.count).toLocaleString("en")} other digits`;
    const script = `const arithmetic = ${Playground.arithmetic.toString().replace(/^arithmetic/, "function arithmetic")};
      (${Playground.work.toString().replace(/^work/, "function work")})(arithmetic);`;
    try {
      this.digits ??= await Playground.levels(this.dataset.digits);
      if (!this.isConnected || this.worker) return; // it has left meanwhile
      this.worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
    } catch (error) {
      return this.say(`Nothing can be trained here: ${error.message}`);
    }
    this.worker.onmessage = ({ data }) => this.receive(data);
    this.worker.onerror = event => this.say(`The training stopped: ${event.message ?? "this page allows no workers"}`);
    this.worker.postMessage({ order: "digits", levels: this.digits, labels: this.labels, count: this.count });
    this.listeners = new AbortController();
    const { signal } = this.listeners;
    if (Playground.owner === this) addEventListener("hashchange", () => this.follow(true), { signal });
    document.addEventListener("visibilitychange", () => this.redraw(), { signal });
    this.find(".all").inert = false;
    this.set(Playground.read(this.dataset.settings, this.count));
    if (Playground.owner === this) this.follow(false);
  }

  disconnectedCallback() {
    this.worker?.terminate();
    this.listeners?.abort();
    this.worker = null;
    if (this.constructor.owner === this) this.constructor.owner = null;
  }

  // Take the settings from the address: an example's name, or all of them. Whoever follows a link wants to see it run.
  follow(run) {
    const hash = location.hash.slice(1), example = this.examples.find(({ name }) => name === hash);
    if (!example && !/^(bs|lr|h)=/.test(hash)) return;
    this.set(this.constructor.read(example ? example.settings : hash, this.count));
    this.scrollIntoView();
    if (run) this.run();
  }

  build() {
    this.attachShadow({ mode: "open" }).innerHTML = `
      <style>
        :host { display: block; container-type: inline-size; margin: 1em 0; line-height: 1.4; font-variant-numeric: tabular-nums;
          transition: color 1ms; scroll-margin-top: 4.5em; }
        * { box-sizing: border-box; }
        button, select { font: inherit; color: inherit; background: none; border: 1px solid #767676; border-radius: 4px; }
        button { padding: .2em .8em; cursor: pointer; }
        button:disabled { opacity: .5; cursor: default; }
        select { padding: 0 .2em; height: 2em; }
        :focus-visible { outline: 3px solid #3b82c4; outline-offset: 2px; }
        .buttons { display: flex; flex-wrap: wrap; gap: .5em; align-items: center; margin: .9em 0; }
        .examples { margin-top: 0; font-size: .9em; }
        .examples button { border-radius: 1em; }
        [aria-pressed=true] { background: #1b6ca8; border-color: #1b6ca8; color: #fff; }
        .run { background: #1b6ca8; border-color: #1b6ca8; color: #fff; min-width: 6.2em; font-weight: 600; }
        .equal { margin-left: auto; white-space: nowrap; }
        fieldset { border: 0; margin: 0; padding: .35em 0; min-width: 0; display: grid; gap: .2em .9em; align-items: end;
          grid-template-columns: minmax(8em, 1fr) 6.2em 6.2em 5em 1.6em; }
        legend, .networks > :not(:first-child) .name, .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden;
          clip-path: inset(50%); white-space: nowrap; }
        .name { display: block; font-size: .85em; margin-bottom: .2em; }
        .slider, .percent, fieldset :is(select, button) { height: 2em; line-height: 2em; }
        .percent { display: block; }
        label { display: block; }
        fieldset select { width: 100%; }
        .slider { display: flex; gap: .7em; align-items: center; }
        [type=range] { flex: 1; min-width: 4em; height: 1.7em; margin: 0; appearance: none; background: none; cursor: pointer; }
        ::-webkit-slider-runnable-track { height: 3px; border-radius: 2px; background: #767676; }
        ::-moz-range-track { height: 3px; border-radius: 2px; background: #767676; }
        ::-webkit-slider-thumb { appearance: none; width: 1.1em; height: 1.1em; margin-top: calc(1.5px - .55em); border-radius: 50%;
          background: var(--colour); }
        ::-moz-range-thumb { width: 1.1em; height: 1.1em; border: 0; border-radius: 50%; background: var(--colour); }
        .slider output { min-width: 3.2em; text-align: right; font-weight: 600; }
        .result { text-align: right; font-weight: 600; white-space: nowrap; }
        .result .name { font-weight: normal; }
        .remove { padding: 0; border-color: transparent; }
        .add { border-style: dashed; margin-top: .4em; }
        .charts, .inside { display: grid; grid-template-columns: 1fr 1fr; gap: 1em 2em; }
        figure { margin: 0; min-width: 0; }
        figcaption { font-size: 1em; font-weight: 600; margin: 0 0 .3em; }
        small { font-size: .85em; font-weight: normal; }
        .chart { display: block; width: 100%; height: 15em; }
        p { margin: .6em 0; }
        [role=status] { min-height: 1.4em; }
        .note:empty { display: none; }
        .note { border-left: 3px solid #d9792b; padding-left: .7em; }
        .looked { display: flex; flex-wrap: wrap; gap: .2em 1.2em; align-items: center; margin: .4em 0 .9em;
          border-top: 1px solid #76767666; padding-top: .9em; }
        .looked label { display: flex; gap: .4em; align-items: center; cursor: pointer; }
        .looked input { margin: 0; accent-color: #3b82c4; }
        .looked .line { width: 1.1em; height: 3px; border-radius: 2px; }
        .units { display: grid; grid-template-columns: repeat(4, 1fr); gap: 4px; max-width: 21em; }
        .units canvas { display: block; width: 100%; aspect-ratio: 1; image-rendering: pixelated;
          border: 1px solid #76767640; border-radius: 3px; }
        .wrong { display: grid; grid-template-columns: repeat(6, 1fr); gap: .3em 4px; font-size: .8em; line-height: 1.25;
          white-space: nowrap; text-align: center; }
        .wrong canvas { width: 100%; max-width: 42px; aspect-ratio: 1; display: block; margin: auto; }
        @container (max-width: 34em) {
          fieldset { grid-template-columns: 1fr 1fr 4.6em 1.6em; gap: .3em .7em; padding: .5em 0; }
          .slider-label { grid-column: 1 / 4; }
          .remove { grid-area: 1 / 4; }
          .charts, .inside { grid-template-columns: 1fr; }
          .equal { margin-left: 0; }
          .chart { height: 13em; }
        }
      </style>
      <div class="all" inert><div class="buttons examples" role="group" aria-label="Examples"></div>
      <div class="networks"></div>
      <button class="add">+ another network</button>
      <div class="buttons">
        <button class="run">Train</button><button class="step">One step</button><button class="again">Start over</button>
        <button class="seed">Other weights</button>
        <label class="equal">Compare at equal <select class="axis"><option>rows</option><option>steps</option>
          <option>seconds</option></select></label>
      </div>
      <p class="note"></p>
      <div class="charts">
        <figure><figcaption>Training loss <small>of each step, and their mean</small></figcaption>
          <canvas class="chart loss" role="img"></canvas></figure>
        <figure><figcaption>Validation accuracy <small class="others"></small></figcaption>
          <canvas class="chart accuracy" role="img"></canvas></figure>
      </div>
      <p role="status"></p>
      <div class="looked" role="radiogroup" aria-label="The network to look into"></div>
      <div class="inside">
        <figure><figcaption>What 12 hidden units look for</figcaption>
          <div class="units" role="img" aria-label="First-layer weights as pictures, blue above 0 and red below"></div></figure>
        <figure><figcaption class="count"></figcaption>
          <div class="wrong" role="img"></div></figure>
      </div>
      <p class="scale"></p>
      <button class="draw">Draw a digit for it</button>
      <div class="paper"></div></div>`;
    const find = this.find = selector => this.shadowRoot.querySelector(selector);
    const on = (selector, action) => { find(selector).onclick = action; };
    new ResizeObserver(() => this.redraw()).observe(this);
    this.addEventListener("transitionend", () => this.redraw()); // the page has become light or dark
    this.examples = JSON.parse(this.dataset.examples); // each with a name, a title and settings
    for (const { title, settings } of this.examples) {
      const button = find(".examples").appendChild(document.createElement("button"));
      button.textContent = title;
      button.onclick = () => {
        this.set(this.constructor.read(settings, this.count));
        this.tell();
        this.run();
      };
    }
    on(".run", () => this.running ? this.pause() : this.run());
    on(".step", () => { this.pause(); this.worker.postMessage({ order: "step" }); });
    on(".again", () => this.change(() => { for (const network of this.networks) network.key = null; }));
    on(".seed", () => this.change(() => { this.seed += 1; for (const network of this.networks) network.key = null; }));
    on(".add", () => this.change(() => {
      const { bs, lr, h } = this.networks.at(-1), larger = this.constructor.batchSizes.find(size => size > bs) ?? 1;
      this.networks.push({ bs: Math.min(larger, this.count), lr, h });
    }));
    on(".draw", () => this.draw());
    find(".axis").onchange = () => this.change(() => { this.x = find(".axis").value; });
    const cell = (place, text) => {
      const box = find(place).appendChild(document.createElement("div"));
      const canvas = box.appendChild(document.createElement("canvas"));
      canvas.width = canvas.height = 28;
      return [canvas, text && box.appendChild(document.createElement("span"))];
    };
    this.units = Array.from({ length: 12 }, () => cell(".units")[0]);
    this.mistakes = Array.from({ length: 24 }, () => cell(".wrong", true));
  }

  // Everything anew, from settings that were read.
  set({ networks, x, seed, changed }) {
    [this.networks, this.x, this.seed, this.looked] = [networks, x, seed, 0];
    this.running = false;
    this.worker.postMessage({ order: "pause" });
    this.say(changed.join(" "));
    this.show();
  }

  // A change by the reader. A network whose settings change starts over, and goes first until it has caught up.
  change(action) {
    action();
    this.looked = Math.min(this.looked, this.networks.length - 1);
    this.say("");
    this.show();
    this.tell();
  }

  // Into the address.
  tell() {
    if (this.constructor.owner !== this) return;
    try {
      history.replaceState(history.state, "", `#${this.constructor.write(this)}`);
    } catch (error) { /* some frames have no address of their own */ }
  }

  say(text) { this.find(".note").textContent = text; }

  run() {
    this.closePaper();
    this.running = true;
    this.worker.postMessage({ order: "run", passes: 40 });
    this.finish();
  }

  pause() {
    this.running = false;
    this.worker.postMessage({ order: "pause" });
    this.finish();
  }

  // The buttons and the sentence, once it runs or rests.
  finish() {
    this.find(".run").textContent = this.running ? "Pause" : "Train";
    this.spoken = -Infinity; // it may speak at once
    this.redraw();
  }

  static keys = 0;

  // The controls for the settings, and the networks in the worker.
  show() {
    const { batchSizes, rates, hiddenUnits, write } = this.constructor, { find } = this;
    this.closePaper();
    for (const network of this.networks) {
      if (network.key) continue;
      const untrained = { rows: 0, steps: 0, seconds: 0, accuracy: NaN, finite: true };
      Object.assign(network, untrained, { key: ++this.constructor.keys, bins: [], binned: 1, decayed: 0, checks: [] });
    }
    const holder = find(".networks"), focused = this.shadowRoot.activeElement, was = focused?.dataset.place;
    holder.replaceChildren(...this.networks.map((network, i) => {
      const row = document.createElement("fieldset"), possible = batchSizes.filter(size => size < this.count);
      const sizes = this.choices([...possible, this.count], network.bs);
      const option = (each, value) => `<option ${each === value ? "selected" : ""}>${each}</option>`;
      const list = (values, value) => this.choices(values, value).map(each => option(each, value)).join("");
      row.innerHTML = `<legend>Network ${i + 1}</legend>
        <label class="slider-label"><span class="name">Batch size</span><span class="slider">
          <input type="range" min="0" max="${sizes.length - 1}" value="${sizes.indexOf(network.bs)}" data-place="bs${i}">
          <output></output></span></label>
        <label><span class="name">Learning rate</span>
          <select data-place="lr${i}">${list(rates, network.lr)}</select></label>
        <label><span class="name">Hidden units</span>
          <select data-place="h${i}">${list(hiddenUnits, network.h)}</select></label>
        <span class="result"><span class="name">Accuracy</span><span class="percent"></span></span>
        <button class="remove" aria-label="Remove network ${i + 1}" data-place="remove${i}">×</button>`;
      const [range, output, [lr, h]] = [row.querySelector("input"), row.querySelector("output"), row.querySelectorAll("select")];
      const put = values => this.change(() => Object.assign(network, values, { key: null }));
      const word = () => {
        output.textContent = sizes[range.value].toLocaleString("en");
        range.setAttribute("aria-valuetext", output.textContent);
      };
      word();
      range.oninput = word;
      range.onchange = () => put({ bs: sizes[range.value] });
      lr.onchange = () => put({ lr: Number(lr.value) });
      h.onchange = () => put({ h: Number(h.value) });
      const remove = row.querySelector(".remove");
      remove.hidden = this.networks.length === 1;
      remove.onclick = () => this.change(() => this.networks.splice(i, 1));
      network.percent = row.querySelector(".percent");
      return row;
    }));
    if (was) holder.querySelector(`[data-place=${was}]`)?.focus();
    find(".looked").replaceChildren("Look into", ...this.networks.map((network, i) => {
      const label = document.createElement("label");
      label.innerHTML = `<input type="radio" name="looked" ${i === this.looked ? "checked" : ""}><span class="line"></span>
        <span>${this.named(network)}</span>`;
      label.querySelector("input").onchange = () => { this.looked = i; this.send(); };
      return label;
    }));
    find(".axis").value = this.x;
    find(".add").hidden = this.networks.length === 4;
    [...find(".examples").children].forEach((button, i) => {
      const same = write({ ...this.constructor.read(this.examples[i].settings, this.count), seed: this.seed }) === write(this);
      button.setAttribute("aria-pressed", same);
    });
    this.inside = null;
    this.send();
    this.finish();
  }

  choices(values, value) { return [...new Set([...values, value])].sort((a, b) => a - b); }

  send() {
    const specs = this.networks.map(({ key, bs, lr, h }) => ({ key, bs, lr, hidden: h, seed: this.seed }));
    this.worker.postMessage({ order: "networks", specs, x: this.x, look: this.networks[this.looked].key });
  }

  // A network by what tells it from the others: one setting if that is enough.
  named(network) {
    const words = { bs: `batch size ${network.bs.toLocaleString("en")}`, lr: `rate ${network.lr}`, h: `${network.h} hidden units` };
    const values = name => new Set(this.networks.map(other => other[name])).size, names = Object.keys(words);
    const enough = names.find(name => values(name) === this.networks.length);
    return enough ? words[enough] : names.filter(name => values(name) > 1).map(name => words[name]).join(", ") || words.bs;
  }

  receive({ progress, inside, ended, trained }) {
    if (trained) return this.openPaper(trained);
    for (const { key, news, ...state } of progress) {
      const network = this.networks.find(each => each.key === key);
      if (!network) continue;
      const from = network.seconds, { losses, rows } = news;
      losses.forEach((loss, k) => this.add(network, loss, rows[k], from + (state.seconds - from) * (k + 1) / losses.length));
      network.checks.push(...news.checks);
      Object.assign(network, state);
    }
    if (inside) this.inside = inside;
    if (ended) this.running = false;
    if (ended) this.finish();
    this.redraw();
  }

  // A loss into the bins of which the curve is drawn, and the mean over about the last 2,000 rows, whatever the batch size.
  add(network, loss, rows, seconds) {
    const { bins } = network, last = bins.at(-1), before = last?.rows ?? 0;
    const kept = Math.exp((before - rows) / 2000), steps = (last?.steps ?? 0) + 1;
    if (!Number.isFinite(loss)) return;
    network.decayed = kept * network.decayed + (1 - kept) * loss;
    const mean = network.decayed / (1 - Math.exp(-rows / 2000));
    const bin = { low: loss, high: loss, mean, rows, steps, seconds, size: 1 };
    const joined = (a, b) => ({ ...b, low: Math.min(a.low, b.low), high: Math.max(a.high, b.high), size: a.size + b.size });
    if (last?.size < network.binned) bins[bins.length - 1] = joined(last, bin);
    else bins.push(bin);
    if (bins.length < 300 || bins.at(-1).size < network.binned) return;
    network.bins = Array.from({ length: 150 }, (_, i) => joined(bins[2 * i], bins[2 * i + 1]));
    network.binned *= 2;
  }

  // Soon, at most 20 times a second, once a second where motion is to be reduced, and never where nobody sees it.
  redraw() {
    if (this.waiting || document.hidden || !this.networks) return;
    this.waiting = true;
    const rest = matchMedia("(prefers-reduced-motion: reduce)").matches && this.running ? 1000 : 50;
    setTimeout(() => requestAnimationFrame(() => {
      this.waiting = false;
      if (this.isConnected) this.paint();
    }), Math.max((this.painted ?? 0) + rest - performance.now(), 0));
  }

  paint() {
    this.painted = performance.now();
    const [red, green, blue] = getComputedStyle(this).color.match(/[\d.]+/g).map(Number), ink = [red, green, blue];
    this.style.colorScheme = red + green + blue > 382 ? "dark" : "light";
    const colours = this.constructor.colours[this.style.colorScheme], { find, networks } = this;
    networks.forEach((network, i) => {
      const row = find(".networks").children[i], colour = network.colour = colours[i];
      find(".looked").children[i].querySelector(".line").style.background = colour;
      row.style.setProperty("--colour", colour);
      const known = network.finite ? `${(100 * network.accuracy).toFixed(1)} %` : "diverged";
      network.percent.textContent = network.rows ? known : "–";
    });
    this.paintCurves(ink);
    this.paintInside(ink);
    if (!(performance.now() < this.spoken + 5000)) this.speak();
    this.took = performance.now() - this.painted;
  }

  paintCurves(ink) {
    const { chart, ticks } = this.constructor, { x, networks, find } = this;
    const right = Math.max({ rows: 2000, steps: 20, seconds: 0.05 }[x], ...networks.map(network => network[x]));
    const means = networks.flatMap(({ bins }) => bins.map(bin => bin.mean)).concat(2.5);
    const [low, high] = [Math.min(0.5 * Math.min(...means), 0.5), Math.min(1.2 * Math.max(...means), 30)];
    const firsts = high / low > 500 ? [1] : [1, 2, 5];
    const levels = [-4, -3, -2, -1, 0, 1].flatMap(power => firsts.map(first => Number(`${first}e${power}`)));
    const axes = { ink, right, unit: x, marks: ticks(right) };
    chart(find(".loss"), { ...axes,
      height: value => Math.log(value / low) / Math.log(high / low),
      levels: levels.filter(level => level > low && level < high),
      lines: [
        ...networks.map(({ colour, bins }) =>
          ({ colour, alpha: 0.18, points: bins.flatMap(bin => [[bin[x], bin.low], [bin[x], bin.high]]) })),
        ...networks.map(({ colour, bins, finite }) => ({ colour, finite, points: bins.map(bin => [bin[x], bin.mean]) })),
      ] });
    const best = Math.max(...networks.flatMap(({ checks }) => checks.map(check => check.accuracy)), 0);
    const top = [0.9, 0.95, 0.98, 0.99, 0.998].find(level => best <= level) ?? 0.9999;
    chart(find(".accuracy"), { ...axes,
      height: value => Math.log(1 - Math.min(value, top)) / Math.log(1 - top), // as far up from 80 to 90 % as from 90 to 95 %
      levels: [0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99].filter(level => level <= top),
      word: level => `${Math.round(100 * level)} %`,
      lines: networks.map(({ colour, checks, finite }) =>
        ({ colour, finite, points: checks.map(check => [check[x], check.accuracy]) })) });
  }

  // From 0 up to `most`, at most five round numbers.
  static ticks(most) {
    const power = 10 ** Math.floor(Math.log10(most));
    const apart = [0.2, 0.5, 1, 2].map(each => each * power).find(each => most / each < 5);
    return Array.from({ length: Math.floor(most / apart) + 1 }, (_, i) => i * apart);
  }

  static chart(canvas, { ink, right, unit, marks, height, levels, lines, word = String }) {
    const ratio = devicePixelRatio, [width, tall] = [canvas.clientWidth, canvas.clientHeight], context = canvas.getContext("2d");
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(tall * ratio))
      [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(tall * ratio)];
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, tall);
    const [from, to, above, below] = [44, width - 14, 8, tall - 36], text = `rgb(${ink.join(" ")} / .8)`;
    const across = value => from + (to - from) * value / right, down = value => below - (below - above) * height(value);
    Object.assign(context, { font: "12px system-ui, sans-serif", fillStyle: text, textBaseline: "middle", textAlign: "right" });
    context.lineWidth = 1;
    for (const level of levels) {
      context.fillText(word(level), from - 7, down(level));
      context.strokeStyle = `rgb(${ink.join(" ")} / .12)`;
      context.strokeRect(from, Math.round(down(level)) + 0.5, to - from, 0);
    }
    context.strokeStyle = `rgb(${ink.join(" ")} / .5)`;
    context.strokeRect(from, below + 0.5, to - from, 0);
    context.textAlign = "center";
    for (const mark of marks) {
      context.strokeRect(Math.round(across(mark)) + 0.5, below, 0, 4);
      const shown = Number(mark.toPrecision(6)).toLocaleString("en"), half = context.measureText(shown).width / 2;
      context.fillText(shown, Math.min(across(mark), width - half), below + 13);
    }
    context.fillText(unit, (from + to) / 2, below + 29);
    context.save();
    context.beginPath();
    context.rect(from, above - 3, to - from + 3, below - above + 3);
    context.clip();
    for (const { colour, alpha = 1, points, finite = true } of lines) {
      Object.assign(context, { strokeStyle: colour, globalAlpha: alpha, lineWidth: alpha < 1 ? 1 : 2, lineJoin: "round" });
      context.beginPath();
      for (const [value, level] of points) context.lineTo(across(value), down(Math.max(level, 1e-9)));
      context.stroke();
    }
    context.restore();
    for (const { colour, finite = true, points } of lines) { // a cross where a network diverged
      if (finite || !points.length) continue;
      const [value, level] = points.at(-1), [px, py] = [across(value), Math.min(Math.max(down(level), above), below)];
      Object.assign(context, { strokeStyle: colour, lineWidth: 2 });
      context.beginPath();
      for (const side of [-5, 5]) {
        context.moveTo(px - side, py - 5);
        context.lineTo(px + side, py + 5);
      }
      context.stroke();
    }
  }

  // The picture of a digit or a unit: each of 784 numbers in one of two colours, stronger the further it is from 0.
  static picture(canvas, numbers, limit, positive, negative = positive) {
    const picture = new ImageData(28, 28), { data } = picture;
    for (let i = 0; i < 784; i++) {
      const colour = numbers[i] < 0 ? negative : positive;
      for (let part = 0; part < 3; part++) data[4 * i + part] = colour[part];
      data[4 * i + 3] = 255 * Math.abs(numbers[i]) / limit; // above 255 it stays there
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }

  paintInside(ink) {
    const { inside, find, count } = this, { picture } = this.constructor, network = this.networks[this.looked];
    if (inside?.key !== network.key) return;
    const limit = inside.weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0) / 1.5;
    this.units.forEach((canvas, unit) => {
      canvas.parentElement.hidden = unit >= network.h;
      const weights = inside.weights.subarray(784 * unit, 784 * (unit + 1));
      picture(canvas, weights, limit, [46, 125, 190], [205, 72, 50]);
    });
    const shows = [network.key, inside.nextCheck, ink].join(); // the answers are new after a check
    if (this.shows !== shows) this.paintMistakes(inside.answers, ink);
    this.shows = shows;
    const { scale } = inside, small = 2 * network.bs <= count ? network.bs : Math.ceil(network.bs / 2);
    const saved = scale / (2 * (small + scale)); // steps are S_min (1 + scale / batch)
    const shown = value => Number(value.toPrecision(2)).toLocaleString("en");
    find(".scale").innerHTML = Number.isFinite(scale) ? `Gradient noise scale: <b>${shown(scale)}</b>. By the rule of McCandlish et
      al. (2018), batches of ${(2 * small).toLocaleString("en")} in place of ${small.toLocaleString("en")} save
      ${Math.round(100 * saved)}&nbsp;% of the steps from here.` : "";
  }

  paintMistakes(answers, ink) {
    const { digits, labels, count, find } = this;
    const wrong = [...answers.keys()].filter(n => answers[n] !== labels[count + n]);
    const [some, all] = [wrong, answers].map(list => list.length.toLocaleString("en"));
    find(".count").textContent = `Still wrong: ${some} of ${all}`;
    this.mistakes.forEach(([canvas, caption], i) => {
      canvas.parentElement.hidden = i >= wrong.length;
      if (i >= wrong.length) return;
      const n = count + wrong[i];
      this.constructor.picture(canvas, digits.subarray(784 * n, 784 * (n + 1)), 15, ink);
      caption.textContent = `${labels[n]} not ${answers[wrong[i]]}`;
    });
  }

  // The state in words, for all and for a screen reader.
  speak() {
    this.spoken = performance.now();
    const { networks, x, find } = this, digits = x === "seconds" ? 2 : 0;
    const number = value => value.toLocaleString("en", { maximumFractionDigits: digits });
    const past = networks.filter(network => network.finite).map(network => network[x]);
    const [least, most] = [Math.min(...past), Math.max(...past)];
    const results = networks.map(network => {
      const state = network.finite ? `${(100 * network.accuracy).toFixed(1)} % right` : "diverged";
      return `${this.named(network)} has ${state}`;
    });
    const who = networks.length > 1 ? "All networks start from the same weights and see" : "The network will see";
    let words = `Nothing is trained yet. ${who} the ${number(this.count)} digits in the same order.`;
    if (networks.some(network => network.rows)) {
      const reached = least > 0.9 * most ? number(most) : `${number(least)} to ${number(most)}`;
      words = `After ${past.length ? reached : "some"} ${x}, ${results.join(", ")}.`;
    }
    find("[role=status]").textContent = words;
    find(".loss").setAttribute("aria-label", `Training loss of each step and its running mean, against ${x}. ${words}`);
    find(".accuracy").setAttribute("aria-label", `Validation accuracy against ${x}. ${words}`);
    const wrong = this.mistakes.filter(([canvas]) => !canvas.parentElement.hidden).map(([, caption]) => caption.textContent);
    find(".wrong").setAttribute("aria-label", `Digits with label and answer: ${wrong.join(", ")}`);
  }

  draw() {
    this.pause();
    this.worker.postMessage({ order: "weights", key: this.networks[this.looked].key });
  }

  openPaper(trained) {
    const element = document.createElement("draw-digit");
    element.dataset.weights = this.constructor.safetensors(trained);
    element.dataset.examples = "[]";
    this.find(".paper").replaceChildren(element);
    const examples = element.shadowRoot.querySelector(".examples"); // there are none
    examples.previousElementSibling.remove();
    examples.remove();
    element.shadowRoot.querySelector(".paper").focus();
  }

  closePaper() { this.find(".paper").replaceChildren(); }
});
