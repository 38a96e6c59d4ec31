import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;

/**
 * Run HOME PORT [KEY=VALUE...] starts one OpenSearch node on 127.0.0.1:PORT with its data below
 * HOME. It ends when its standard input does.
 */
public class Run {
    static class TestNode extends Node {
        TestNode(Environment e, Collection<Class<? extends Plugin>> plugins) { super(e, plugins, false); }
    }

    public static void main(String[] args) throws Exception {
        String home = args[0];
        int port = Integer.parseInt(args[1]);
        Settings.Builder s = Settings.builder()
            .put("path.home", home).put("path.data", home + "/data")
            .put("cluster.name", "test").put("node.name", "n1").put("discovery.type", "single-node")
            .put("network.host", "127.0.0.1").put("http.port", port).put("transport.port", port + 1)
            .put("http.type", "netty4").put("transport.type", "netty4");
        for (int i = 2; i < args.length; i++) {
            String[] kv = args[i].split("=", 2);
            s.put(kv[0], kv[1]);
        }
        Environment e = InternalSettingsPreparer.prepareEnvironment(s.build(), Map.of(), Path.of(home, "config"), () -> "n1");
        Node node = new TestNode(e, List.of(org.opensearch.transport.Netty4Plugin.class, org.opensearch.analysis.common.CommonAnalysisPlugin.class));
        node.start();
        System.out.println("started");
        Runtime.getRuntime().addShutdownHook(new Thread(() -> { try { node.close(); } catch (Exception x) { } }));
        while (System.in.read() >= 0) { }
        System.exit(0);
    }
}
