#!/usr/bin/env bash
# The report's page in a browser, where Chromium is found (else this test is skipped): its script runs
# without an error, zooms, changes scales, and nothing is wider than a phone or a desk.
#   tests/experiments/test_report_browser.sh JEPA
set -u
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) ||
    { echo "skipped: no Chromium here"; exit 0; }
source "$(dirname "$0")/program.sh"

mkdir a b
awk 'BEGIN {
    print "epoch,itr,loss,loss-jepa,enc-grad-norm,pred-grad-norm,wall-time(ms),step,lr,momentum,wait(ms),a_column_of_ours"
    for (s = 0; s < 20000; s++) {
        loss = 0.3 + exp(-s / 4000) + 0.05 * sin(s * s)
        if (s == 9000) loss = 7
        printf "0,%d,%.6g,%.6g,%.6g,%.6g,%.1f,%d,%.6g,%.9g,%.1f,%g\n", s, loss, loss, exp(3 * sin(s)), 1 + cos(s), 900, s, 1e-3 * (1 - s / 20000), 1 - 1e-7 * s, s % 13, s % 100
    }
}' >a/log.csv
head -8000 a/log.csv >b/log.csv
printf 'step,slot,file,reason\n,,"%s/<script>document.title = 1</script>.mp4",cut short\n' "$(printf 'x%.0s' {1..200})" >a/quarantine.csv
mkdir a/probe
printf 'probe,top1,low95,high95\nthis encoder,0.5,0.4,0.6\nmajority class,0.125,0.1,0.2\n' >a/probe/results.csv
run report a
run report a b --out both.html

# A copy with a script that does what a person would, and writes down what comes of it.
try_page() { # page, name
    sed -e 's|<body |<script>window.errors = []; addEventListener("error", (e) => errors.push(e.message)); addEventListener("securitypolicyviolation", (e) => errors.push(e.blockedURI));</script><body |' "$1" >"$2.html"
    cat >>"$2.html" <<'SCRIPT'
<script>
(async () => {
  const plot = document.querySelector(".plot"), result = {};
  const ticks = () => [...plot.querySelectorAll("text")].map((t) => t.textContent).join(" ");
  const press = (key) => plot.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const until = async (f) => { // charts are drawn when they are seen
    for (let i = 0; i < 50 && !f(); i++) await new Promise((done) => setTimeout(done, 40));
    return f();
  };
  const before = ticks(), lines = plot.querySelectorAll("path.line").length;
  plot.scrollIntoView();
  press("+"); press("+"); press("+");
  result.zoomed = await until(() => ticks() !== before);
  press("l");
  result.log = plot.parentElement.querySelector("button").getAttribute("aria-pressed");
  press("l");
  press("Escape");
  result.back = await until(() => ticks() === before && plot.querySelectorAll("path.line").length === lines);
  const box = plot.getBoundingClientRect();
  plot.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width / 2, clientY: box.top + 9, pointerType: "mouse", bubbles: true }));
  result.tip = !!plot.querySelector(".tip b");
  const slider = document.querySelector("#controls input");
  slider.value = 4;
  slider.dispatchEvent(new Event("input"));
  result.narrow = document.documentElement.scrollWidth <= innerWidth;
  result.wide = [...document.querySelectorAll("main *")].filter((e) => !e.closest(".scroll") && e.getBoundingClientRect().right > innerWidth + 1).length;
  result.nan = document.querySelectorAll("path[d*=NaN], text[x*=NaN], text[y*=NaN]").length;
  result.errors = errors.length ? errors : 0;
  document.body.append(Object.assign(document.createElement("pre"), { id: "result", textContent: JSON.stringify(result) }));
})();
</script>
SCRIPT
    for size in 390,844 1440,900; do
        timeout 100 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$work/profile" \
            --window-size=$size --virtual-time-budget=10000 --dump-dom "file://$work/$2.html" >dom.html 2>browser.txt ||
            { fail "$2: the browser ends with $?"; tail -3 browser.txt; }
        local result
        result=$(grep -o '<pre id="result">[^<]*' dom.html)
        for part in '"zoomed":true' '"log":"true"' '"back":true' '"tip":true' '"narrow":true' '"wide":0' '"nan":0' '"errors":0'; do
            [[ "$result" == *"$part"* ]] || fail "$2 at $size: no $part: ${result#*>}"
        done
    done
}
try_page a/report.html one
try_page both.html two

finish
