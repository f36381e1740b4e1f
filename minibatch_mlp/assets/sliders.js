// Scores that one can move, with their probabilities and the loss. 01_loss.ipynb has the same numbers from Python.
customElements.get("softmax-sliders") || customElements.define("softmax-sliders", class extends HTMLElement {

  // Exponentials over their sum are probabilities, and minus the logarithm of the true one is the loss.
  static outcome(scores) {
    const exps = scores.map(Math.exp), sum = exps.reduce((a, b) => a + b), probs = exps.map(value => value / sum);
    return { exps, sum, probs, losses: probs.map(p => -Math.log(p)) };
  }

  connectedCallback() {
    if (this.shadowRoot) return;
    this.scores = JSON.parse(this.dataset.scores);
    this.label = Number(this.dataset.label);
    this.attachShadow({ mode: "open" }).innerHTML = `
      <style>
        :host { display: block; container-type: inline-size; margin: 1em 0; line-height: 1.4; font-variant-numeric: tabular-nums; }
        table { border-collapse: collapse; font-size: .95em; }
        th, td { padding: .3em .7em; text-align: right; font-weight: normal; border: 0; }
        thead th { vertical-align: bottom; border-bottom: 1px solid #767676; }
        tfoot :is(th, td) { border-top: 1px solid #767676; }
        :is(th, td):first-child { text-align: left; }
        label { display: block; white-space: nowrap; padding: .3em 0; cursor: pointer; }
        input { accent-color: #3b82c4; margin: 0 .3em 0 0; }
        [type=range] { width: 9em; height: 1.6em; vertical-align: middle; }
        .score { display: inline-block; min-width: 2.2em; }
        .bar { height: .35em; border-radius: 2px; background: #3b82c4; margin-top: .1em; }
        .true :is(th, td) { font-weight: bold; }
        :focus-visible { outline: 3px solid #3b82c4; outline-offset: 2px; }
        p { margin: .8em 0 0; }
        @container (max-width: 34em) {
          table { font-size: .85em; width: 100%; }
          th, td { padding: .3em; }
          td:nth-child(2) { width: 50%; }
          [type=range] { display: block; width: 100%; min-width: 4.5em; margin: 0; }
        }
      </style>
      <table>
        <thead><tr><th scope="col">true class</th><th scope="col">score z</th><th scope="col">e<sup>z</sup></th>
          <th scope="col">probability p</th><th scope="col">&minus;log p</th></tr></thead>
        <tbody></tbody>
        <tfoot><tr><th scope="row">sum</th><td></td><td class="sum"></td><td>1.000</td><td></td></tr></tfoot>
      </table>
      <p role="status"></p>`;
    const find = selector => this.shadowRoot.querySelector(selector);
    [this.sum, this.status] = [".sum", "[role=status]"].map(find);
    this.rows = this.scores.map((score, i) => {
      const row = find("tbody").appendChild(document.createElement("tr"));
      row.innerHTML = `<th scope="row"><label><input type="radio" name="label"> ${i}</label></th>
        <td><input type="range" min="-6" max="6" step="0.1" aria-label="score of class ${i}"><span class="score"></span></td>
        <td></td><td class="prob"><span></span><div class="bar"></div></td><td></td>`;
      const [radio, range] = row.querySelectorAll("input");
      [radio.checked, range.value] = [i === this.label, score];
      radio.onchange = () => { this.label = i; this.show(); };
      range.oninput = () => { this.scores[i] = Number(range.value); this.show(); };
      return row;
    });
    this.show();
  }

  show() {
    const { exps, sum, probs, losses } = this.constructor.outcome(this.scores);
    this.rows.forEach((row, i) => {
      row.className = i === this.label ? "true" : "";
      row.querySelector(".score").textContent = this.scores[i].toFixed(1).replace("-", "\u2212");
      row.cells[2].textContent = exps[i].toFixed(3);
      row.querySelector(".prob span").textContent = probs[i].toFixed(3);
      row.querySelector(".bar").style.width = `${100 * probs[i]}%`;
      row.cells[4].textContent = losses[i].toFixed(3);
    });
    this.sum.textContent = sum.toFixed(3);
    this.status.textContent = `The true class is ${this.label}, so the loss is ${losses[this.label].toFixed(3)}.`;
  }
});
