"use strict";
// Opens the volume of a case with NiiVue, whose code stays compressed in the page until the first one is opened.
globalThis.radaptVolume = (() => {
  const COLOURS = { truth: [64, 200, 96], predicted: [255, 140, 0] };
  const SHADES = [1, 0.7, 0.45]; // of the structures of a mask, in turn
  const VIEWS = { multiplanar: "all planes and 3D", axial: "axial", coronal: "coronal", sagittal: "sagittal", render: "3D" };
  const KEYS = {
    ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0], PageUp: [0, 0, 1], PageDown: [0, 0, -1],
  };
  const TURN = { ArrowLeft: [-5, 0], ArrowRight: [5, 0], ArrowUp: [0, 5], ArrowDown: [0, -5] }; // degrees
  const make = (tag, fields = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), fields);
    element.append(...children);
    return element;
  };
  const bytesOf = (text) => Uint8Array.from(atob(text.trim()), (letter) => letter.charCodeAt(0));
  const unzipped = (text) => new Response(new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip")));

  let library = null;
  const load = () => (library ??= unzipped(document.querySelector("script.library").textContent).text().then((code) => {
    document.head.append(make("script", { textContent: code })); // the page's policy allows this text alone
    return globalThis.niivue;
  }));

  let open = null; // one view at a time: browsers keep few WebGL contexts
  const close = () => {
    open?.viewer.cleanup();
    open?.viewer.gl.getExtension("WEBGL_lose_context")?.loseContext();
    open?.place.replaceChildren();
    if (open) open.button.hidden = false;
    open = null;
  };
  const tinted = (image, kind) => {
    const labels = [...Array(Math.max(2, image.global_max + 1)).keys()];
    const [R, G, B] = COLOURS[kind].map((level) => labels.map((label) => level * SHADES[(label + 2) % 3]));
    image.setColormapLabel({ R, G, B, A: labels.map((label) => (label ? 255 : 0)) });
  };

  const show = async (place, button, volume, name) => {
    const { Niivue, NVImage } = await load();
    close();
    if (!place.isConnected) return; // another case was chosen meanwhile
    const canvas = make("canvas", { tabIndex: 0 });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${volume.sequence} of ${name} in 3D. Arrow keys and Page Up and Page Down move the cross-hair or turn the 3D view.`);
    const stage = make("div", { className: "stage" }, canvas);
    const bar = make("div", { className: "controls" });
    place.replaceChildren(bar, stage);
    const viewer = new Niivue({
      logLevel: "error", loadingText: "", dragAndDropEnabled: false, isRadiologicalConvention: true, sagittalNoseLeft: true,
      crosshairWidth: 0.3, crosshairWidthUnit: "voxels", multiplanarShowRender: 1, multiplanarLayout: 2, tileMargin: 2, scrollRequiresFocus: true, clipPlaneHotKey: "", cycleClipPlaneHotKey: "", viewModeHotKey: "",
    });
    open = { viewer, place, button };
    const watch = new MutationObserver(() => {
      if (place.isConnected) return;
      watch.disconnect();
      if (open?.place === place) close();
    });
    watch.observe(place.closest(".case"), { childList: true });
    const keys = (event) => {
      if (event.key === "Tab") return;
      event.stopImmediatePropagation(); // the library's own keys open dialogs
      const turn = view.value === "render" && TURN[event.key];
      if (event.type !== "keydown" || !(turn || KEYS[event.key])) return;
      event.preventDefault();
      if (turn) viewer.setRenderAzimuthElevation(viewer.scene.renderAzimuth + turn[0], viewer.scene.renderElevation + turn[1]);
      else viewer.moveCrosshairInVox(...KEYS[event.key]);
    };
    for (const kind of ["keydown", "keyup"]) canvas.addEventListener(kind, keys, { capture: true });
    const view = make("select", {}, ...Object.entries(VIEWS).map(([value, text]) => new Option(text, value)));
    view.addEventListener("change", () => {
      viewer.setSliceType({ axial: 0, coronal: 1, sagittal: 2, multiplanar: 3, render: 4 }[view.value]);
    });
    await viewer.attachToCanvas(canvas);
    const kinds = ["image", "truth", "predicted"].filter((kind) => volume[kind]);
    for (const kind of kinds) {
      const image = await NVImage.new(await unzipped(volume[kind]).arrayBuffer(), `${kind}.nii`, "gray", kind === "image" ? 1 : 0.5, null, 0, 255);
      if (kind !== "image") tinted(image, kind);
      viewer.addVolume(image);
    }
    bar.append(make("label", {}, make("span", { textContent: "View" }), view));
    kinds.slice(1).forEach((kind, at) => {
      const box = make("input", { type: "checkbox", checked: true });
      box.addEventListener("change", () => viewer.setOpacity(at + 1, box.checked ? 0.5 : 0));
      bar.append(make("label", {}, box, make("i", { className: `key ${kind}` }), kind === "truth" ? " truth" : " prediction"));
    });
    const end = make("button", { type: "button", textContent: "Close 3D" });
    end.addEventListener("click", () => { close(); button.focus(); });
    bar.append(end);
    viewer.setSliceType(3);
    canvas.dataset.drawn = "";
    canvas.focus({ preventScroll: true });
  };

  return (volume, name) => {
    const times = (sides) => sides.join(" × ");
    const small = times(volume.shape) === times(volume.stored) ? "" : `, down-sampled from ${times(volume.stored)}`;
    const facts = `${volume.sequence}, ${times(volume.shape)} voxels of ${times(volume.spacing_mm.map((side) => Number(side.toFixed(2))))} mm${small}.`;
    const button = make("button", { type: "button", className: "open", textContent: "Open in 3D" });
    const place = make("div");
    const say = (text) => place.replaceChildren(make("p", { className: "note", textContent: text }));
    button.addEventListener("click", async () => {
      if (!document.createElement("canvas").getContext("webgl2")) {
        say("This browser does not offer WebGL 2, which the 3D view needs. The slices above show the same case.");
        return;
      }
      button.hidden = true;
      try {
        await show(place, button, volume, name);
      } catch (error) {
        button.hidden = false;
        say(`The 3D view did not start: ${error.message}`);
      }
    });
    return make("div", { className: "volume" }, make("p", {}, button, make("span", { className: "note", textContent: facts })), place);
  };
})();
