// A camera program in C++. All it knows of Sightline is the push door.
//
// Start the door, build this program and run it; it sends COUNT pictures (for ever without it):
//
//     sightline camera push://127.0.0.1:5557 --camera cam1
//     sudo apt install g++ libzmq3-dev
//     g++ -std=c++17 -O2 push.cpp -o push -lzmq
//     ./push tcp://127.0.0.1:5557 10
//
// Without --live-camera every frame is marked as simulated and opens no gate; a live line wants --policy drop_oldest, too.

#include <zmq.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

constexpr int HEIGHT = 480, WIDTH = 640;

// Your camera's SDK goes here: rows without padding, blue first.
static void grab(long number, std::vector<uint8_t>& bgr) {
    for (int y = 100; y < 200; y++)
        for (int x = 300; x < 600; x++) bgr[y * WIDTH * 3 + x] = static_cast<uint8_t>(number);
}

static void check(bool good, const char* what) {
    if (good) return;
    std::fprintf(stderr, "%s: %s\n", what, zmq_strerror(zmq_errno()));
    std::exit(1);
}

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fprintf(stderr, "usage: push ENDPOINT [COUNT]\n");
        return 2;
    }
    const long count = argc > 2 ? std::atol(argv[2]) : -1;
    void* context = zmq_ctx_new();
    void* push = zmq_socket(context, ZMQ_PUSH);
    const int queue = 4, linger_ms = 10000;
    zmq_setsockopt(push, ZMQ_SNDHWM, &queue, sizeof queue);  // while the door is full, wait in zmq_send
    zmq_setsockopt(push, ZMQ_LINGER, &linger_ms, sizeof linger_ms);  // at the end, time to get the last ones out
    check(zmq_connect(push, argv[1]) == 0, argv[1]);

    std::vector<uint8_t> bgr(static_cast<size_t>(HEIGHT) * WIDTH * 3);
    for (long number = 0; count < 0 || number < count; number++) {
        grab(number, bgr);
        // Optional besides part_id and trigger: view, recipe, budget_ms, meta, crc32, transform. For a JPEG or PNG
        // file, send its bytes as they are, with "encoding":"jpeg" or "png". Text in a header must be escaped as JSON
        // asks.
        char header[512];
        const int length = std::snprintf(
            header, sizeof header,
            R"({"shape":[%d,%d,3],"dtype":"uint8","color":"bgr","encoding":"raw","part_id":"P-%ld","trigger":%ld})",
            HEIGHT, WIDTH, number, number);
        check(zmq_send(push, header, static_cast<size_t>(length), ZMQ_SNDMORE) >= 0, "header");
        check(zmq_send(push, bgr.data(), bgr.size(), 0) >= 0, "picture");
    }
    zmq_close(push);
    zmq_ctx_term(context);
}
