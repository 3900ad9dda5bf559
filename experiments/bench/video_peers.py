"""Clips per second of other loaders on the draws that `video_bench draws` prints.

    python video_peers.py decord|torchcodec|torchcodec-approximate DRAWS WORKERS
    python video_peers.py published DRAWS WORKERS JEPA_CHECKOUT

Every clip is cropped and scaled to 224 x 224 as its draw says. Each worker is a process with one
thread, as a data loader has them. `published` is the VideoDataset of the published V-JEPA code with
its own transform on the same files; it draws frames and crops itself.
"""
import multiprocessing
import resource
import sys
import time


def read_draws(path):
    draws = []
    for line in open(path):
        name, crop, frames = line.rstrip("\n").split("\t")
        draws.append((name, [int(x) for x in crop.split()], [int(x) for x in frames.split()]))
    return draws


def work(mode, draws, checkout, ready, go, out):
    import torch

    torch.set_num_threads(1)
    from torchvision.transforms.v2 import functional as transforms

    failed = 0

    def crop_resize(frames, crop):
        top, left, height, width = crop
        return transforms.resized_crop(frames, top, left, height, width, [224, 224], antialias=True)

    if mode == "decord":
        import decord

        def load(name, crop, frames):
            reader = decord.VideoReader(name, num_threads=1, ctx=decord.cpu(0))
            pixels = torch.from_numpy(reader.get_batch(frames).asnumpy())
            return crop_resize(pixels.permute(0, 3, 1, 2), crop)

    elif mode == "published":
        sys.path.insert(0, checkout)
        import logging

        logging.disable(logging.WARNING)
        from app.vjepa.transforms import make_transforms
        from src.datasets.video_dataset import VideoDataset

        listing = f"/tmp/published-{multiprocessing.current_process().pid}.csv"
        with open(listing, "w") as file:
            file.writelines(f"{name} 0\n" for name, _, _ in draws)
        dataset = VideoDataset([listing], frames_per_clip=16, frame_step=4, num_clips=1,
                               random_clip_sampling=True, allow_clip_overlap=True,
                               transform=make_transforms(random_horizontal_flip=True,
                                                         random_resize_aspect_ratio=(0.75, 1.35),
                                                         random_resize_scale=(0.3, 1.0),
                                                         reprob=0.0, auto_augment=False,
                                                         motion_shift=False, crop_size=224))
        numbers = iter(range(len(draws)))

        def load(name, crop, frames):
            return dataset[next(numbers)]

    else:
        from torchcodec.decoders import VideoDecoder

        seek = "approximate" if mode.endswith("approximate") else "exact"
        def load(name, crop, frames):
            decoder = VideoDecoder(name, num_ffmpeg_threads=1, seek_mode=seek)
            return crop_resize(decoder.get_frames_at(frames).data, crop)

    try:
        load(*draws[0])  # imports and caches
    except Exception as reason:
        print(f"{mode}: {reason}", file=sys.stderr)
    ready.release()
    go.wait()
    started = time.process_time()
    for draw in draws:
        try:
            load(*draw)
        except Exception as reason:
            if not failed:
                print(f"{mode}: {draw[0]}: {str(reason)[:200]}", file=sys.stderr)
            failed += 1
    out.put((time.process_time() - started, failed,
             resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main():
    mode, path, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    checkout = sys.argv[4] if len(sys.argv) > 4 else None
    draws = read_draws(path)
    context = multiprocessing.get_context("spawn")
    ready, go, out = context.Semaphore(0), context.Event(), context.Queue()
    processes = [context.Process(target=work, daemon=True,
                                 args=(mode, draws[i::workers], checkout, ready, go, out))
                 for i in range(workers)]
    for process in processes:
        process.start()
    for _ in processes:
        if not ready.acquire(timeout=120):
            sys.exit(f"{mode}: a worker did not start")
    started = time.monotonic()
    go.set()
    results = [out.get() for _ in processes]
    seconds = time.monotonic() - started
    for process in processes:
        process.join()
    cpu = sum(result[0] for result in results)
    print(f"{mode} {len(draws)} clips {seconds:.2f} s {len(draws) / seconds:.1f} clips/s "
          f"{len(draws) / cpu:.1f} clips/cpu-s {sum(r[2] for r in results):.0f} MiB "
          f"{sum(r[1] for r in results)} failed")


if __name__ == "__main__":
    main()
