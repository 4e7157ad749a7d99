// A camera program in C#. All it knows of Sightline is the push door.
//
// Start the door, then this program, which sends COUNT pictures (for ever without it):
//
//     sightline camera push://127.0.0.1:5557 --camera cam1
//     dotnet run --project examples/push/csharp -- tcp://127.0.0.1:5557 10
//
// Without --live-camera every frame is marked as simulated and opens no gate; a live line wants --policy drop_oldest, too.

using System;
using NetMQ;
using NetMQ.Sockets;

public static class Push
{
    const int Height = 480, Width = 640;

    // Your camera's SDK goes here: rows without padding, blue first.
    static byte[] Grab(long number)
    {
        var bgr = new byte[Height * Width * 3];
        for (int y = 100; y < 200; y++)
            for (int x = 300; x < 600; x++)
                bgr[y * Width * 3 + x] = (byte)number;
        return bgr;
    }

    public static int Main(string[] args)
    {
        if (args.Length < 1)
        {
            Console.Error.WriteLine("usage: Push ENDPOINT [COUNT]");
            return 2;
        }
        long count = args.Length > 1 ? long.Parse(args[1]) : long.MaxValue;
        using (var push = new PushSocket())
        {
            push.Options.SendHighWatermark = 4; // while the door is full, wait in SendFrame
            push.Options.Linger = TimeSpan.FromSeconds(10); // at the end, time to get the last ones out
            push.Connect(args[0]);
            for (long number = 0; number < count; number++)
            {
                // Optional besides part_id and trigger: view, recipe, budget_ms, meta, crc32, transform. For a JPEG or
                // PNG file, send its bytes as they are, with "encoding":"jpeg" or "png". Text must be escaped as JSON
                // asks.
                string header =
                    $@"{{""shape"":[{Height},{Width},3],""dtype"":""uint8"",""color"":""bgr"",""encoding"":""raw"",""part_id"":""P-{number}"",""trigger"":{number}}}";
                push.SendMoreFrame(header).SendFrame(Grab(number));
            }
        }
        NetMQConfig.Cleanup(); // waits for what is still on its way
        return 0;
    }
}
